"""Toys that are launched directly, because they do more than generate, or something else.

Each is run twice, on a platform and on the oracle, through bind, place and compile; rows of
outputs agree within the tolerance that decides a greedy token.

Knows no platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import adapters, llama, pooled
from octavo.testing.toys.zoo import LIMITS, NUM_BLOCKS, VOCAB_SIZE
from octavo_conformance.bench import Running
from octavo_conformance.drawing import normal, random
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_conformance.steps import Step, ints
from octavo_conformance.verdict import insist
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import HostTensor, host, to_float
from octavo_platforms.tolerance import Floats, gap_limit

BATCHES = ((5, 3, 9), (1,), (31,), (1, 1, 1, 1))
QUERIES = (5, 3, 9)
SLOTS = (1, 0, 2)
TABLES = ((3, 1), (7,), (2, 9, 4))
EVERY = range(len(QUERIES))


@dataclass(frozen=True, slots=True)
class Launched:
    """One program on a platform and on the oracle, with the same weights."""

    found: Running
    oracle: Running

    def same(self, entry: str, output: str, step: Step, **given: HostTensor) -> Floats:
        """Launch both; insist that an output's rows agree, and give them. Raises: Failed."""
        made, exact = (
            to_float(each.run(entry, step, **given)[output]).astype(np.float64)
            for each in (self.found, self.oracle)
        )
        near(f"{output} of {entry}", made, exact)
        return made

    def close(self) -> None:
        """Close both programs."""
        self.found.program.close()
        self.oracle.program.close()


def launched(platform: Platform, program: ProgramDef) -> Launched:
    """Load a program twice."""
    weights = RandomWeights(program)
    both = (
        run_on(each, program, weights, num_blocks=NUM_BLOCKS)
        for each in (platform, Platform(OraclePlatform()))
    )
    return Launched(*(Running(each.program) for each in both))


def near(what: str, found: Floats, exact: Floats) -> None:
    """Insist that rows agree. Raises: Failed."""
    insist(found.shape == exact.shape, f"{what} has the shape {found.shape}, not {exact.shape}")
    for row, (ours, right) in enumerate(zip(found, exact, strict=True)):
        error, allowed = float(np.abs(ours - right).max()), gap_limit(right, "float32")
        insist(error <= allowed, f"row {row} of {what} is {error} off, {allowed} are allowed")


def pools_as_the_oracle(platform: Platform, pooling: pooled.Pooling) -> None:
    """Insist on the oracle's row for each prompt, with mates and alone. Raises: Failed."""
    toy = launched(platform, pooled.program(llama.spec(), pooling=pooling, limits=LIMITS))
    for queries in BATCHES:
        ids = _ids(sum(queries))
        rows = toy.same(pooled.ENTRY, "pooled", Step(queries=queries, token_ids=ids))
        alone = [
            toy.same(pooled.ENTRY, "pooled", Step(queries=(len(own),), token_ids=own))[0]
            for own in _apart(ids, queries)
        ]
        near("pooled rows of prompts alone", np.stack(alone), rows)
    toy.close()


def adapts_each_request_alone(platform: Platform) -> None:
    """Insist that each request has its own adapter, and that a slot can be refilled.

    Raises: Failed.
    """
    toy = launched(platform, adapters.program(llama.spec(), limits=LIMITS))
    plain = _adapted(toy, SLOTS)
    for slot in (1, 2):
        _load(toy, slot, f"adapter {slot}")
    rows = _adapted(toy, SLOTS)
    insist(np.array_equal(rows[1], plain[1]), "mates' adapters changed a request without one")
    insist(_differ(rows[[0, 2]], plain[[0, 2]]), "adapters changed nothing")
    _load(toy, 1, "another adapter")
    again = _adapted(toy, SLOTS)
    insist(_differ(again[[0]], rows[[0]]), "the new adapter changed nothing")
    near("rows of the other slots", again[1:], rows[1:])
    alone = [_adapted(toy, SLOTS, [request])[0] for request in EVERY]
    near("logits of requests alone", np.stack(alone), again)
    toy.close()


def _adapted(toy: Launched, slots: Sequence[int], requests: Sequence[int] = EVERY) -> Floats:
    ids = _apart(_ids(sum(QUERIES)), QUERIES)
    step = Step(
        queries=[QUERIES[each] for each in requests],
        token_ids=[token for each in requests for token in ids[each]],
        tables=[TABLES[each] for each in requests],
    )
    own = host(ints([slots[each] for each in requests]))
    return toy.same("forward", "logits", step, **{adapters.SLOT: own})


def _load(toy: Launched, slot: int, name: str) -> None:
    given = {
        part: host(normal(f"{name} {part}", 1, *shape, scale=0.3))
        for part, shape in adapters.stacks(llama.spec()).items()
    }
    for running in (toy.found, toy.oracle):
        running.run(adapters.LOAD, Step(queries=(1,)), slot=host(ints([slot])), **given)


def _differ(found: Floats, others: Floats) -> bool:
    return bool((np.abs(found - others).max(axis=-1) > gap_limit(others, "float32")).all())


def _ids(num_tokens: int) -> list[int]:
    ids: list[int] = random("toy ids").integers(0, VOCAB_SIZE, num_tokens).tolist()
    return ids


def _apart(ids: Sequence[int], queries: Sequence[int]) -> list[Sequence[int]]:
    ends = np.cumsum(queries).tolist()
    return [ids[end - count : end] for end, count in zip(ends, queries, strict=True)]
