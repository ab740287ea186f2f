"""What a steady decode step costs the host: schedule, batch, naming and commit, around no work.

Runs a number of requests on a program that gives token 0 to everyone, lets them all get past
their prompts, and times the parts of the steps after that. The steps cover whole blocks, so
that taking and naming blocks is in the numbers. With a depth of 2 each step is scheduled while
the one before it is unread, as it is on a device.

    python benchmarks/host_cost.py --requests 256 --steps 64 --out host_cost.json

In further steps it counts what Python allocated and the step still holds, with its notes: few
more objects than blocks that became full, however many the requests.

Knows nothing of devices: what a launch itself costs is not in here.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import TypeVar

import numpy as np
import quiet

from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.step import Delta, Step
from octavo.testing.null import IdleProgram
from octavo_platforms.inputs import Pending, StepInputs

PROMPT_TOKENS = 100
BLOCK_SIZE = 16
VOCAB_SIZE = 1000
CONTEXT_TOKENS = 8192
PARTS = ("schedule", "batch", "naming", "commit", "step")
T = TypeVar("T")


class Desk:
    """A scheduler and a batch over a program that does nothing, moved one part at a time."""

    def __init__(self, num_requests: int, num_steps: int, depth: int) -> None:
        blocks_each = -(-(PROMPT_TOKENS + 2 * BLOCK_SIZE + 4 * num_steps) // BLOCK_SIZE)
        limits = Limits(
            max_context_tokens=CONTEXT_TOKENS,
            num_blocks=num_requests * blocks_each + 1,
            block_size=BLOCK_SIZE,
            max_requests=num_requests,
            max_step_tokens=max(num_requests, 8192),
            vocab_size=VOCAB_SIZE,
        )
        self.program = IdleProgram()
        self.heart = heart(self.program, limits)
        self.unread: deque[tuple[Step, Pending]] = deque()
        self.times: dict[str, list[float]] = {part: [] for part in PARTS}
        self._depth = depth
        for index in range(num_requests):
            # Prompts of different lengths: blocks fill up in different steps, as in service.
            length = PROMPT_TOKENS + index % BLOCK_SIZE
            tokens = np.random.default_rng(index).integers(1, VOCAB_SIZE, length)
            params = SamplingParams(temperature=0.0)
            self.heart.scheduler.add(Request(f"r{index}", tokens.astype(np.int32), params))
        for _ in range(num_steps + 2 * PROMPT_TOKENS * num_requests // limits.max_step_tokens):
            self.step()

    def step(self) -> tuple[Step, StepInputs, Delta | None]:
        """Launch one step and, where as many are unread as may be, read the oldest."""
        scheduler = self.heart.scheduler
        step = self._timed("schedule", scheduler.schedule)
        assert step is not None, "everybody has work"
        inputs = self._timed("batch", lambda: self.heart.batch.inputs(step, entry="step"))
        self.unread.append((step, self.program.launch(inputs)))
        self._timed("naming", scheduler.name_blocks)
        delta = None
        if len(self.unread) == self._depth:
            oldest, pending = self.unread.popleft()
            result = pending.read()
            delta = self._timed("commit", lambda: scheduler.commit(oldest, result))
            spent = sum(self.times[part][-1] for part in PARTS[:-1])
            self.times["step"].append(spent)
        return step, inputs, delta

    def _timed(self, part: str, call: Callable[[], T]) -> T:
        start = perf_counter_ns()
        made = call()
        self.times[part].append((perf_counter_ns() - start) / 1000)
        return made


Figures = dict[str, float]


def measure(num_requests: int, num_steps: int, depth: int) -> dict[str, Figures]:
    """Time steady decode steps, and count what one of them allocates.

    Units: microseconds, by part; `step` is the sum of the parts.
    """
    desk = Desk(num_requests, num_steps, depth)
    desk.times = {part: [] for part in PARTS}
    gc.collect()
    for _ in range(num_steps):
        step, _, delta = desk.step()
        assert len(step.rows) == num_requests, "the decode is steady"
        assert delta is not None
        assert len(delta.tokens) == num_requests, "the decode is steady"
    found: dict[str, Figures] = {
        part: {
            "median_us": round(float(np.median(spent)), 1),
            "p99_us": round(float(np.percentile(spent, 99)), 1),
        }
        for part, spent in desk.times.items()
    }
    found["objects"] = {"held": min(_num_held(desk) for _ in range(2 * BLOCK_SIZE))}
    return found


def _disturbance(made: dict[str, Figures]) -> float:
    return made["step"]["p99_us"]


def _num_held(desk: Desk) -> int:
    """Count the blocks of memory that Python took for a step, while its notes are there."""
    before = sys.getallocatedblocks()
    notes = desk.step()
    held = sys.getallocatedblocks() - before
    del notes
    return held


def main() -> None:
    """Print a table of medians and 99th percentiles; write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description="The host's cost of a steady decode step.")
    parser.add_argument("--requests", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3, help="of which the quietest is taken")
    parser.add_argument("--depth", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    arguments = parser.parse_args()
    found: dict[str, dict[str, dict[str, Figures]]] = {}
    print(f"{'depth':>5}  {'requests':>8}  {'part':<9} {'median us':>10} {'p99 us':>10}")
    for depth in arguments.depth:
        for num_requests in arguments.requests:
            runs = (measure(num_requests, arguments.steps, depth) for _ in range(arguments.runs))
            made = min(runs, key=_disturbance)
            found.setdefault(f"depth {depth}", {})[f"{num_requests} requests"] = made
            for part, row in made.items():
                shown = " ".join(f"{value:>10.1f}" for value in row.values())
                print(f"{depth:>5}  {num_requests:>8}  {part:<9} {shown}")
    what = f"host microseconds of a steady decode step, {arguments.steps} steps"
    quiet.write(arguments.out, what, found)


if __name__ == "__main__":
    main()
