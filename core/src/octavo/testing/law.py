"""The law of tokens: where one logit clearly wins, the token is that one.

Two correct computations differ in rounding, so a token is held against a reference only where
the reference's two largest logits are further apart than the dtype's tolerance. The output is
fed to the reference as it stands, so that one undecided token does not excuse all after it.

Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import DType
from octavo_platforms.tolerance import gap_limit

ENOUGH = 0.99


@dataclass(frozen=True, slots=True)
class Held:
    """Tokens held against a reference: how many, how many it decides, and which are wrong."""

    num_tokens: int
    num_decided: int
    wrong: tuple[int, ...]

    @property
    def is_evidence(self) -> bool:
        """Tell whether enough tokens were decided to prove anything."""
        return self.num_decided >= ENOUGH * self.num_tokens


def hold(
    logits: npt.NDArray[np.floating], tokens: Sequence[int], dtype: DType, *, least: float = 0.0
) -> Held:
    """Hold greedy tokens against a reference's logits.

    Shapes: logits [N, V], the reference's before each token; tokens [N].
    Units: `least` is a gap that counts as undecided whatever the dtype says.
    """
    assert len(logits) == len(tokens), "one row of logits for each token"
    wrong, num_decided = [], 0
    for index, (row, token) in enumerate(zip(logits, tokens, strict=True)):
        second, first = np.partition(row, -2)[-2:]
        if first - second <= max(least, gap_limit(row, dtype)):
            continue
        num_decided += 1
        if int(np.argmax(row)) != token:
            wrong.append(index)
    return Held(len(tokens), num_decided, tuple(wrong))
