"""What a second step in flight is worth: a decode step beside a device that takes a known time.

The device is a clock: each launch is over a fixed time after the one before it, and the host is
free meanwhile. So what a step takes beyond that time is what the host keeps the device waiting.

    python benchmarks/overlap.py --requests 256 1024 --device-ms 1 3 --out overlap.json

Knows nothing of real devices: there, host and device can also compete for memory or processors.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import quiet

from octavo.engine import Engine
from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import IdleProgram, NullPending
from octavo_platforms.inputs import StepInputs, StepResult

WARM_STEPS = 30
BLOCK_SIZE = 16


class Clocked(NullPending):
    """A launch that is over at a certain time."""

    def __init__(self, pending: NullPending, over_at: float) -> None:
        super().__init__(pending.read(), {})
        self._over_at = over_at

    def ready(self) -> bool:
        """Look at the clock."""
        return time.perf_counter() >= self._over_at

    def read(self) -> StepResult:
        """Wait until it is over."""
        time.sleep(max(0.0, self._over_at - time.perf_counter()))
        while not self.ready():
            pass
        return super().read()


@dataclass(slots=True)
class ClockedDevice(IdleProgram):
    """A program whose launches take a fixed time, one after the other."""

    step_s: float
    free_at: float = 0.0

    def launch(self, inputs: StepInputs) -> NullPending:
        """Queue a launch behind the ones before it."""
        self.free_at = max(self.free_at, time.perf_counter()) + self.step_s
        return Clocked(IdleProgram.launch(self, inputs), self.free_at)


def step_ms(num_requests: int, device_ms: float, depth: int, num_steps: int) -> float:
    """Give the median time of a steady step, from delta to delta."""
    engine = _engine(num_requests, device_ms, depth, num_steps)
    for _ in range(WARM_STEPS):
        engine.step()
    spent = []
    for _ in range(num_steps):
        began = time.perf_counter()
        delta = engine.step()
        spent.append(time.perf_counter() - began)
        assert len(delta.tokens) == num_requests, "the decode is steady"
    return statistics.median(spent) * 1e3


def _engine(num_requests: int, device_ms: float, depth: int, num_steps: int) -> Engine:
    longest = 2 * BLOCK_SIZE + WARM_STEPS + num_steps + depth
    limits = Limits(
        max_context_tokens=2 * longest,
        num_blocks=num_requests * -(-2 * longest // BLOCK_SIZE) + 1,
        block_size=BLOCK_SIZE,
        max_requests=num_requests,
        max_step_tokens=2 * BLOCK_SIZE * num_requests,
        vocab_size=1000,
    )
    engine = heart(ClockedDevice(device_ms / 1e3), limits).engine(max_in_flight=depth)
    for index in range(num_requests):
        prompt = [1] * (BLOCK_SIZE + index % BLOCK_SIZE)
        engine.add(Request(f"{index}", prompt, SamplingParams(temperature=0.0)))
    return engine


def main() -> None:
    """Print and write."""
    parser = argparse.ArgumentParser(description="What a second step in flight is worth.")
    parser.add_argument("--requests", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--device-ms", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, help="where to write JSON")
    arguments = parser.parse_args()
    report: dict[str, object] = {}
    for device_ms in arguments.device_ms:
        for num_requests in arguments.requests:
            one, two = (
                step_ms(num_requests, device_ms, depth, arguments.steps) for depth in (1, 2)
            )
            found = {"depth 1": round(one, 3), "depth 2": round(two, 3)}
            report[f"{num_requests} requests, device {device_ms} ms"] = found
            print(f"{num_requests:>5} requests, device {device_ms} ms: {found}")
    what = "milliseconds of a decode step beside a device that takes a known time"
    quiet.write(arguments.out, what, report)


if __name__ == "__main__":
    main()
