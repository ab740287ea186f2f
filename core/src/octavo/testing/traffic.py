"""Traffic: requests of all kinds together, or at random while others run, some of them aborted.

Knows nothing of what a test wants to show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.engine import Engine
from octavo.request import Request
from octavo.sampling import SamplingParams


def nine(*, is_late: bool = False) -> list[Request]:
    """Give nine requests, greedy and sampled, some with the same beginning, of 20 tokens each.

    Every second one may be late.
    """
    return [
        Request(
            f"r{number}",
            [*([50, 60, 70] * (number % 4)), *range(number, 2 * number + 1)],
            SamplingParams(temperature=0.6 * (number % 3), seed=number, max_tokens=20),
            is_late=is_late and number % 2 == 0,
        )
        for number in range(9)
    ]


def traffic(
    draw: np.random.Generator,
    count: int,
    *,
    vocab_size: int,
    max_prompt_tokens: int,
    max_tokens: int,
) -> list[Request]:
    """Draw requests, greedy and sampled."""
    return [
        Request(
            f"{index}",
            draw.integers(0, vocab_size, int(draw.integers(1, max_prompt_tokens + 1))).tolist(),
            SamplingParams(
                temperature=float(draw.choice([0.0, 0.7])),
                seed=index,
                max_tokens=int(draw.integers(1, max_tokens + 1)),
            ),
        )
        for index in range(count)
    ]


def follow(engine: Engine, arrivals: Sequence[Request], draw: np.random.Generator) -> int:
    """Add requests while others run, abort some; count the tokens that come out."""
    waiting, num_tokens = list(arrivals), 0
    while waiting or engine.has_work:
        while waiting and (not engine.has_work or draw.random() < 0.3):
            engine.add(waiting.pop())
        if draw.random() < 0.05:
            engine.abort(f"{draw.integers(0, len(arrivals))}")
        num_tokens += len(engine.step().tokens)
    return num_tokens
