"""Thousands of requests through the scheduler, on a device that does nothing: who waits, and why.

Time is counted in steps. Requests come when a pattern says so, are computed by a program without
any work, and are counted: how many tokens a step had, how many of them were computed for a second
time, how long anybody waited, and how many blocks were held in each step.

    steady     one after the other, about as fast as they can be served
    burst      everybody at once
    growing    short prompts and long outputs at once: what fits now will not fit later
    giants     now and then a prompt as long as a context may be, among short ones

Knows nothing of how fast a real device is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo.heart import heart
from octavo.request import Request, RequestId
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import IdleProgram, NullPending
from octavo_platforms.inputs import StepInputs

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: in which step it comes, and how long its prompt and its output are."""

    at: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What was seen after each step. Shapes: all [steps]."""

    held_blocks: Counts
    running: Counts
    waiting: Counts
    preemptions: Counts


@dataclass(frozen=True, slots=True)
class Ran:
    """How it went.

    Units: `wanted_tokens` have to be computed once, `computed_tokens` were; waits in steps from
        coming to the first token, of all requests in their order.
    """

    num_steps: int
    wanted_tokens: int
    computed_tokens: int
    waits: Sequence[int]
    trace: Trace

    @property
    def tokens_per_step(self) -> float:
        """Give the throughput: what had to be computed, by the steps that it took."""
        return self.wanted_tokens / self.num_steps

    @property
    def recomputed_share(self) -> float:
        """Give the share of all computed tokens that had been computed before."""
        return 1 - self.wanted_tokens / self.computed_tokens


class Counting(IdleProgram):
    """The program without work, which counts tokens."""

    def __init__(self) -> None:
        self.num_tokens = 0

    def launch(self, inputs: StepInputs) -> NullPending:
        """Count, and give token 0 to every row."""
        self.num_tokens += inputs.shape.num_tokens
        return super().launch(inputs)


def simulate(visits: Sequence[Visit], limits: Limits, *, depth: int = 1) -> Ran:
    """Let requests come and go until all have ended."""
    program = Counting()
    engine = heart(program, limits).engine(max_in_flight=depth)
    coming = sorted(range(len(visits)), key=lambda number: visits[number].at)
    came: dict[RequestId, int] = {}
    began: dict[RequestId, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    now = place = 0
    while place < len(coming) or engine.has_work:
        if not engine.has_work:
            now = max(now, visits[coming[place]].at)
        while place < len(coming) and visits[coming[place]].at <= now:
            one = _request(coming[place], visits[coming[place]])
            engine.add(one)
            came[one.request_id] = now
            place += 1
        delta = engine.step()
        now += 1
        for request_id in delta.request_ids:
            began.setdefault(request_id, now)
        stats = engine.stats
        rows.append((stats.held_blocks, stats.running, stats.waiting, stats.preemptions))
    engine.check_integrity()
    return Ran(
        num_steps=len(rows),
        wanted_tokens=sum(each.prompt_tokens + each.output_tokens - 1 for each in visits),
        computed_tokens=program.num_tokens,
        waits=[began[request_id] - step for request_id, step in came.items()],
        trace=Trace(*np.array(rows, np.int64).T),
    )


def _request(number: int, visit: Visit) -> Request:
    params = SamplingParams(temperature=0.0, max_tokens=visit.output_tokens)
    return Request(f"{number}", np.full(visit.prompt_tokens, 1, np.int32), params)


def steady(count: int, limits: Limits, chance: random.Random) -> list[Visit]:
    """Let requests come about as fast as a full house serves them."""
    mean_tokens = 3 * limits.max_context_tokens // 8
    each_steps = max(mean_tokens / limits.max_step_tokens, mean_tokens / 3 / limits.max_requests)
    at = 0.0
    visits = []
    for _ in range(count):
        at += chance.expovariate(1 / each_steps)
        visits.append(_ordinary(int(at), limits, chance))
    return visits


def burst(count: int, limits: Limits, chance: random.Random) -> list[Visit]:
    """Let everybody come at once."""
    return [_ordinary(0, limits, chance) for _ in range(count)]


def growing(count: int, limits: Limits, chance: random.Random) -> list[Visit]:
    """Let everybody come at once with little, and want much."""
    longest = limits.max_context_tokens
    return [
        Visit(0, chance.randint(1, longest // 32), chance.randint(longest // 4, longest // 2))
        for _ in range(count)
    ]


def giants(count: int, limits: Limits, chance: random.Random) -> list[Visit]:
    """Let every twentieth fill a context."""
    longest = limits.max_context_tokens
    return [
        Visit(number // 4, longest - 16, 8)
        if number % 20 == 0
        else Visit(number // 4, chance.randint(1, longest // 8), chance.randint(1, longest // 8))
        for number in range(count)
    ]


def _ordinary(at: int, limits: Limits, chance: random.Random) -> Visit:
    longest = limits.max_context_tokens
    return Visit(at, chance.randint(1, longest // 2), chance.randint(1, longest // 4))


PATTERNS: Mapping[str, Callable[[int, Limits, random.Random], list[Visit]]] = MappingProxyType(
    {"steady": steady, "burst": burst, "growing": growing, "giants": giants}
)
