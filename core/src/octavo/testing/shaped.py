"""Requests that want everything, run together and held to the reference token by token.

The reference reads the logits of the same platform, computed for one whole context at a time,
and chooses in numpy. So what is held is the choosing: entries, host arrays, seats, and what the
host does where a program lacks an entry.

Knows nothing of what a platform can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from octavo.engine import Engine
from octavo.models.decoder import Limits
from octavo.request import FinishReason, Request
from octavo.sampling import SamplingParams
from octavo.sampling.reference import Choice
from octavo.step import Logprobs, Scored
from octavo.testing import drive
from octavo.testing.drive import Running
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_platforms import shaping
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.inputs import Ints
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

MOST, FEWEST = 10, 6
WIDEST = 40
LIKELY = 4
VOCAB = 101
LIMITS = Limits(
    max_step_tokens=48, max_requests=12, max_blocks=16, block_size=4, max_logprobs=LIKELY
)
PROMPTS: Sequence[Sequence[int]] = tuple(
    np.random.default_rng(length).integers(0, VOCAB, length).tolist() for length in (3, 22, 14)
)
_NUM_BLOCKS = 120

Floats = npt.NDArray[np.float32]

PARAMS: Mapping[str, SamplingParams] = {
    "greedy": SamplingParams(temperature=0, max_tokens=MOST),
    "drawn": SamplingParams(seed=1, max_tokens=MOST),
    "cut": SamplingParams(seed=2, top_k=9, top_p=0.8, min_p=0.02, max_tokens=MOST),
    "penalised": SamplingParams(
        seed=3, repetition_penalty=1.4, presence_penalty=0.5, frequency_penalty=0.3,
        temperature=0.6, max_tokens=MOST,
    ),
    "greedy penalised": SamplingParams(temperature=0, frequency_penalty=2, max_tokens=MOST),
    "biased": SamplingParams(
        seed=4, logit_bias={3: 4.0, 5: -100.0}, top_p=0.9, max_tokens=MOST, logprobs=2
    ),
    "allowed": SamplingParams(seed=5, allowed_token_ids=range(10, 30), max_tokens=MOST),
    "patient": SamplingParams(
        temperature=0, stop_token_ids=range(0, 101, 2), min_tokens=6, max_tokens=MOST
    ),
    "clean": SamplingParams(
        seed=7,
        temperature=2,
        allowed_token_ids=[1, 2, 3],
        bad_token_ids=[[1, 2], [3, 3], [7]],
        max_tokens=MOST,
    ),
    "told": SamplingParams(seed=6, logprobs=LIKELY, prompt_logprobs=LIKELY, max_tokens=MOST),
}  # fmt: skip


@dataclass(slots=True)
class Made:
    """What came of one request."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[Logprobs] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    finished: FinishReason | None = None


def run_on(
    platform: Platform,
    *,
    dtype: DType = "float32",
    settings: DeviceSettings | None = None,
) -> Running:
    """Open a platform and put a small Llama of random weights on it."""
    program = llama.program(llama.spec(), dtype=dtype, limits=LIMITS)
    weights = RandomWeights(program)
    return drive.run_on(platform, program, weights, num_blocks=_NUM_BLOCKS, settings=settings)


def run(
    engine: Engine, asked: Mapping[str, tuple[Sequence[int], SamplingParams]]
) -> dict[str, Made]:
    """Run requests to their end together; give what came of each."""
    made = {name: Made() for name in asked}
    for name, (prompt, params) in asked.items():
        engine.add(Request(name, prompt, params))
    while engine.has_work:
        delta = engine.step()
        for index, (name, token) in enumerate(
            zip(delta.request_ids, delta.tokens.tolist(), strict=True)
        ):
            made[name].tokens.append(token)
            if delta.logprobs is not None:
                made[name].logprobs.append(delta.logprobs[index : index + 1])
        for name, scored in delta.scored.items():
            made[name].scored.append(scored)
        for name, reason in delta.finished.items():
            made[name].finished = reason
    return made


def everything() -> dict[str, tuple[Sequence[int], SamplingParams]]:
    """Give a request of each kind, with prompts in turn."""
    return {
        name: (PROMPTS[index % len(PROMPTS)], params)
        for index, (name, params) in enumerate(PARAMS.items())
    }


def who_is_wrong(
    running: Running,
    asked: Mapping[str, tuple[Sequence[int], SamplingParams]],
    made: Mapping[str, Made],
) -> list[str]:
    """Name the requests with too few tokens, or one that the reference would not have chosen."""
    return [
        name
        for name, (prompt, params) in asked.items()
        if len(made[name].tokens) < FEWEST
        or wrong_tokens(running, prompt, params, made[name].tokens)
    ]


def wrong_tokens(
    running: Running, prompt: Sequence[int], params: SamplingParams, tokens: Sequence[int]
) -> list[int]:
    """Give the places in an output whose token the reference would not have chosen."""
    context = [*prompt, *tokens]
    context += [0] * (WIDEST - len(context))  # of one length, for platforms that compile for each
    logits = running.logits(context)[len(prompt) - 1 :]
    choice = Choice(
        params=params,
        seed=params.seed or 0,
        prompt_ids=np.array(prompt, np.int32),
        stop_ids=params.stop_token_ids,
    )
    output = np.array(tokens, np.int32)
    return [
        place
        for place, token in enumerate(tokens)
        if choice.token(logits[place], output[:place]) != token
    ]


def worst_logprob(logits: npt.NDArray[np.float32], ids: Ints, told: Logprobs, count: int) -> float:
    """Give how far from the reference the worst logprob is; infinite where ids or ranks differ.

    Shapes: logits [N, V]; ids [N]; `told` of as many tokens, `count` likeliest each.
    """
    exact = shaping.logprobs(logits)
    own = exact[np.arange(len(ids)), ids]
    likeliest, expected = shaping.most_likely(logits, count)
    ranks = (exact > own[:, None]).sum(axis=1)
    if not (told.rank == ranks).all() or not (told.top_ids[:, :count] == likeliest).all():
        return float("inf")
    return float(
        max(np.abs(told.logprob - own).max(), np.abs(told.top_logprobs[:, :count] - expected).max())
    )
