"""Holding one row of the table against transformers, on one platform in one dtype.

    logits   whole prompts and parts of them, on each road that a platform has
    tokens   greedy ones of prompts that came in parts, beside others, and twice, so that the second
             time finds its prefixes remembered

In float32 logits have to agree and tokens hold by the law of gaps; in bfloat16 logits may be as
far off as those of transformers itself in bfloat16, and half as far again: by the mean, or where
experts are chosen by what half the rows stay below.

Knows no family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octavo.models.decoder import Limits
from octavo.models.registry import family
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running, generate
from octavo.testing.law import hold
from octavo.weights.find import find
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

from .families import VOCAB, Row
from .reference import Logits, Reference, ours, reference_logits

OUTPUT_TOKENS = 64
CHUNK_TOKENS = 17
EXACT = 2e-4
LIMITS = Limits(max_step_tokens=64, max_requests=4, max_blocks=16, block_size=16)
NARROW = 1.5


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out.

    `worst` is the largest error of a logit, in deviations of the reference's logits; `narrow`
    that of transformers in the same dtype, 0 in float32. `equal` and `tokens` count tokens.
    """

    worst: float
    narrow: float
    tokens: int
    equal: int
    problems: tuple[str, ...]


def prompts(sizes: Sequence[int] = (3, 40, 17, 61)) -> list[list[int]]:
    """Give prompts, the last of which starts as the one before."""
    generator = np.random.default_rng(0)
    found = [generator.integers(3, VOCAB, size).tolist() for size in sizes]
    return [*found, found[-1][:50]]


def measure(row: Row, platform: Platform, folder: Path, dtype: DType = "float32") -> Measured:
    """Write a row's checkpoint and hold our logits and tokens against its module's."""
    module = row.write(folder)
    given = prompts()
    running = ours(folder, platform, dtype=dtype, limits=LIMITS)
    exact = reference_logits(module, given[-2])
    found = [running.logits(given[-2], chunk=chunk) for chunk in (None, CHUNK_TOKENS)]
    assert family(find(str(folder)).config).name == row.family, "the row is of another family"
    if dtype != "float32":
        narrow = reference_logits(module.bfloat16(), given[-2])
        routes = any(node.op == "route" for node in running.definition.entries["forward"].nodes)
        return _narrow(found, narrow, exact, error=_middle_error if routes else _mean_error)
    problems = []
    worst = max(_error(each, exact) for each in found)
    if not worst <= EXACT:
        problems.append(f"a logit is {worst:.2g} deviations off, {EXACT} are allowed")
    return _with_tokens(running, module, given, worst, problems)


def _narrow(
    found: Sequence[Logits], narrow: Logits, exact: Logits, *, error: Callable[..., float]
) -> Measured:
    ours_off = max(error(each, exact) for each in found)
    theirs = error(narrow, exact)
    problems = []
    if not ours_off <= NARROW * theirs:
        problems.append(f"logits are {ours_off:.2g} off, those of the reference {theirs:.2g}")
    equal = int(np.sum(found[0].argmax(-1) == exact.argmax(-1)))
    return Measured(ours_off, theirs, len(exact), equal, tuple(problems))


def _with_tokens(
    running: Running, module: Reference, given: list[list[int]], worst: float, problems: list[str]
) -> Measured:
    engine = running.engine(vocab_size=VOCAB)
    params = SamplingParams(temperature=0, max_tokens=OUTPUT_TOKENS)
    outputs = generate(engine, given, params) + generate(engine, given[-1:], params)
    asked = [*given, given[-1]]
    if engine.stats.prefix_hit_tokens < len(given[-1]) // 16 * 16:
        problems.append("no prefix was found again")
    logits = np.concatenate(
        [
            reference_logits(module, prompt + output)[len(prompt) - 1 : -1]
            for prompt, output in zip(asked, outputs, strict=True)
        ]
    )
    tokens = [token for output in outputs for token in output]
    held = hold(logits, tokens, "float32")
    if held.wrong or not held.is_evidence:
        problems.append(f"{len(held.wrong)} of {held.num_decided} decided tokens are wrong")
    equal = int(np.sum(logits.argmax(-1) == np.asarray(tokens)))
    return Measured(worst, 0.0, len(tokens), equal, tuple(problems))


def _error(found: Logits, exact: Logits) -> float:
    return float(np.max(np.abs(found - exact)) / np.std(exact))


def _mean_error(found: Logits, exact: Logits) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2)) / np.std(exact))


def _middle_error(found: Logits, exact: Logits) -> float:
    """Tell what half the rows stay below: a row whose experts fell the other way is another."""
    rows = np.sqrt(np.mean((found - exact) ** 2, axis=-1))
    return float(np.median(rows) / np.std(exact))
