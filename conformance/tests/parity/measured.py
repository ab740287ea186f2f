"""Holding one row of the table against transformers, on one platform in one dtype.

    logits   whole prompts and parts of them, on each road that a platform has
    tokens   greedy ones of prompts that came in parts, beside others, and of one twice that starts
             as another did, so that it finds a prefix remembered

In float32 logits have to agree and tokens hold by the law of gaps; in bfloat16 logits may be as
far off as those of transformers itself in bfloat16, and a quarter as far again: by the mean, or
where experts are chosen by what a quarter and half the rows stay below. There a row whose experts
fell the other way is another row, and so may be those behind it: prompts are many and short, and
such strays may be about as many as the reference's own.

Knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from octavo.models.decoder import Limits
from octavo.models.registry import family
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running, generate
from octavo.testing.law import hold
from octavo.weights.find import find
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

from .reference import Change, Logits, Reference, as_read, ours, reference_logits
from .row import VOCAB, Row

OUTPUT_TOKENS = 64
CHUNK_TOKENS = 17
EXACT = 2e-4
LIMITS = Limits(max_step_tokens=64, max_requests=4, max_blocks=16, block_size=16)
NARROW = 1.25
PARTS = (25, 50)
"""Of how many rows in a hundred it is held what they stay below."""
STRAY = 4.0
"""A row that is so many times as far off as half the reference's rows stay below is a stray."""
STRAYS, FEW = 3, 5
"""So many times the reference's strays are allowed, and a few."""
LONG, SHORT = (61, 61), (17,) * 16
"""Prompts in bfloat16, in tokens."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out.

    `worst` is the largest error of a logit, in deviations of the reference's logits; in bfloat16
    the mean one, or that of the row in the middle. `narrow` is that of transformers in the same
    dtype, 0 in float32. `equal` and `tokens` count tokens.
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


def measure(
    row: Row,
    platform: Platform,
    folder: Path,
    dtype: DType = "float32",
    *,
    change: Change = as_read,
) -> Measured:
    """Write a row's checkpoint and hold our logits and tokens against its module's."""
    module = row.write(folder)
    running = ours(folder, platform, dtype=dtype, limits=LIMITS, change=change)
    assert family(find(str(folder)).config).name == row.family, "the row is of another family"
    if dtype != "float32":
        return _narrow(running, module)
    given = prompts()
    exact = reference_logits(module, given[-2])
    found = [running.logits(given[-2], chunk=chunk) for chunk in (None, CHUNK_TOKENS)]
    problems = []
    worst = max(_error(each, exact) for each in found)
    if not worst <= EXACT:
        problems.append(f"a logit is {worst:.2g} deviations off, {EXACT} are allowed")
    return _with_tokens(running, module, given, worst, problems)


def _narrow(running: Running, module: PreTrainedModel) -> Measured:
    """Hold logits in bfloat16, of prompts whole and in parts, against the same in float32."""
    routes = any(node.op == "route" for node in running.definition.entries["forward"].nodes)
    given = prompts(SHORT if routes else LONG)[:-1]
    exact = np.concatenate([reference_logits(module, each) for each in given])
    module.bfloat16()
    narrow = np.concatenate([reference_logits(module, each) for each in given])
    found = [
        np.concatenate([running.logits(each, chunk=chunk) for each in given])
        for chunk in (None, len(given[0]) // 2)
    ]
    theirs, own = _off(narrow, exact), [_off(each, exact) for each in found]
    equal = int(np.sum(found[0].argmax(-1) == exact.argmax(-1)))
    if routes:
        problems = [each for rows in own for each in _problems_of_rows(rows, theirs)]
        middle = max(float(np.median(rows)) for rows in own)
        return Measured(middle, float(np.median(theirs)), len(exact), equal, tuple(problems))
    worst, narrow_off = max(_mean(rows) for rows in own), _mean(theirs)
    is_off = not worst <= NARROW * narrow_off
    problem = f"logits are {worst:.2g} off, those of the reference {narrow_off:.2g}"
    return Measured(worst, narrow_off, len(exact), equal, (problem,) if is_off else ())


def _problems_of_rows(own: Logits, theirs: Logits) -> list[str]:
    """Hold what the better half of rows is off, and count strays. Shapes: [T] twice."""
    found = []
    for part, mine, limit in zip(
        PARTS, np.percentile(own, PARTS), np.percentile(theirs, PARTS), strict=True
    ):
        if not mine <= NARROW * limit:
            found.append(f"{part} % of rows are up to {mine:.2g} off, the reference's {limit:.2g}")
    far = STRAY * np.median(theirs)
    strays, known = int(np.sum(~(own <= far))), int(np.sum(theirs > far))
    if strays > STRAYS * known + FEW:
        found.append(f"{strays} rows of {len(own)} are others, of the reference {known}")
    return found


def _with_tokens(
    running: Running, module: Reference, given: list[list[int]], worst: float, problems: list[str]
) -> Measured:
    engine = running.engine(vocab_size=VOCAB)
    params = SamplingParams(temperature=0, max_tokens=OUTPUT_TOKENS)
    again = [given[-1], given[-1]]
    outputs = generate(engine, given[:-1], params) + generate(engine, again, params)
    asked = [*given[:-1], *again]
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


def _off(found: Logits, exact: Logits) -> Logits:
    """Tell how far off each row is. Shapes: [T, V] twice; returns [T]."""
    rows: Logits = np.sqrt(np.mean((found - exact) ** 2, axis=-1)) / np.std(exact)
    return rows


def _mean(rows: Logits) -> float:
    return float(np.sqrt(np.mean(rows**2)))
