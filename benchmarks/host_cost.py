"""What a steady decode step costs the host: schedule, batch and commit, around no work at all.

Runs a number of requests on a program that gives token 0 to everyone, lets them all get past
their prompts, and times the parts of the steps after that. The steps cover whole blocks, so
that taking and naming blocks is in the numbers.

    python benchmarks/host_cost.py --requests 256 --steps 64 --out host_cost.json

Knows nothing of devices: what a launch itself costs is not in here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import TypeVar

import numpy as np

from octavo.batch import Batch
from octavo.request import Request
from octavo.runner import Runner
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits, Scheduler
from octavo.testing.null import GROUP, IdleProgram

PROMPT_TOKENS = 100
BLOCK_SIZE = 16
VOCAB_SIZE = 1000
CONTEXT_TOKENS = 8192
T = TypeVar("T")
PARTS = ("schedule", "batch", "commit", "step")


def measure(num_requests: int, num_steps: int) -> dict[str, list[float]]:
    """Time steady decode steps.

    Units: microseconds, by part; `step` is the sum of the parts.
    """
    blocks_each = -(-(PROMPT_TOKENS + 3 * num_steps) // BLOCK_SIZE)
    limits = Limits(
        max_context_tokens=CONTEXT_TOKENS,
        num_blocks=num_requests * blocks_each + 1,
        block_size=BLOCK_SIZE,
        max_requests=num_requests,
        max_step_tokens=max(num_requests, 8192),
        vocab_size=VOCAB_SIZE,
    )
    scheduler = Scheduler(limits)
    batch = Batch(
        scheduler.seats, scheduler.tables, group=GROUP, max_step_tokens=limits.max_step_tokens
    )
    program = IdleProgram()
    runner = Runner(program, batch)
    for index in range(num_requests):
        # Prompts of different lengths: blocks fill up in different steps, as they do in service.
        tokens = np.random.default_rng(index).integers(1, VOCAB_SIZE, PROMPT_TOKENS + index % 16)
        params = SamplingParams(temperature=0.0)
        scheduler.add(Request(f"r{index}", tokens.astype(np.int32), params))
    for _ in range(num_steps + PROMPT_TOKENS * num_requests // limits.max_step_tokens):
        step = scheduler.schedule()
        assert step is not None, "everybody has work"
        scheduler.commit(step, runner.launch(step).read())
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(num_steps):
        step, scheduled = _timed(scheduler.schedule)
        assert step is not None, "everybody has work"
        assert len(step.rows) == num_requests, "the decode is steady"
        inputs, batched = _timed(partial(batch.inputs, step, entry="step"))
        result = program.launch(inputs).read()
        _, committed = _timed(partial(scheduler.commit, step, result))
        parts = (scheduled, batched, committed)
        for part, spent in zip(PARTS, (*parts, sum(parts)), strict=True):
            times[part].append(spent)
    return times


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    start = perf_counter_ns()
    made = call()
    return made, (perf_counter_ns() - start) / 1000


def main() -> None:
    """Print a table of medians and 99th percentiles; write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description="The host's cost of a steady decode step.")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    arguments = parser.parse_args()
    found = {}
    print(f"{'requests':>8}  {'part':<9} {'median us':>10} {'p99 us':>10}")
    for num_requests in arguments.requests:
        times = measure(num_requests, arguments.steps)
        found[num_requests] = {
            part: {
                "median_us": round(float(np.median(spent)), 1),
                "p99_us": round(float(np.percentile(spent, 99)), 1),
            }
            for part, spent in times.items()
        }
        for part, row in found[num_requests].items():
            print(f"{num_requests:>8}  {part:<9} {row['median_us']:>10.1f} {row['p99_us']:>10.1f}")
    if arguments.out is not None:
        document = {"unit": "microseconds", "steps": arguments.steps, "requests": found}
        arguments.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
