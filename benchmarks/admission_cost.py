"""What comings and goings cost the host: requests added, seated, found in the cache and ended.

    add       a request is put into the queue
    seat      it gets a seat and blocks, its prompt is looked up, and the step that computes it is
              scheduled, made into arrays and taken in
    hit       the same for a prompt whose blocks are all remembered, but for the last
    churn     a step of many, of whom one ends and one is seated, over what a steady one costs
    abort     requests are ended before their time, waiting or running, one after the other

The program gives token 0 to everyone. All but churn are per request.

    python benchmarks/admission_cost.py --requests 1000 --prompt 512 --out admission-cost.json

Knows nothing of devices: what a launch itself costs is not in here.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterable
from pathlib import Path
from time import process_time_ns
from typing import TypeVar

import numpy as np
import quiet

from octavo.engine import Engine
from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import IdleProgram

BLOCK_SIZE = 16
VOCAB_SIZE = 1000
STEP_TOKENS = 8192
ROOM_TOKENS = 512
ENDS_AFTER = 40
Figures = dict[str, float]
T = TypeVar("T")


def engine(num_requests: int, prompt_tokens: int, *, waves: int = 1) -> Engine:
    """Give an engine with room for so many requests, and for so many waves of prompts."""
    blocks_each = -(-(waves * prompt_tokens + ROOM_TOKENS) // BLOCK_SIZE)
    limits = Limits(
        max_context_tokens=max(8192, prompt_tokens + ROOM_TOKENS),
        num_blocks=num_requests * blocks_each + 1,
        block_size=BLOCK_SIZE,
        max_requests=num_requests,
        max_step_tokens=max(STEP_TOKENS, num_requests),
        vocab_size=VOCAB_SIZE,
    )
    return heart(IdleProgram(), limits).engine()


def requests(
    wave: str,
    num_requests: int,
    prompt_tokens: int,
    *,
    max_tokens: int,
    are_uneven: bool = False,
) -> list[Request]:
    """Make requests whose prompts have nothing in common; of two waves they are the same.

    Uneven ones fill their blocks in different steps, and one ends after the other.
    """
    made = []
    for index in range(num_requests):
        length = prompt_tokens + index % BLOCK_SIZE * are_uneven
        prompt = np.random.default_rng(index).integers(1, VOCAB_SIZE, length)
        params = SamplingParams(temperature=0.0, max_tokens=max_tokens + index * are_uneven)
        made.append(Request(f"{wave}{index}", prompt.astype(np.int32), params))
    return made


def timed(call: Callable[[T], object], over: Iterable[T]) -> float:
    """Call something with one after the other; give the microseconds that it took a processor."""
    gc.collect()
    start = process_time_ns()
    for each in over:
        call(each)
    return (process_time_ns() - start) / 1000


def run_dry(one: Engine) -> None:
    """Make steps until nobody is left."""
    while one.has_work:
        one.step()


def waves(num_requests: int, prompt_tokens: int) -> Figures:
    """Time two waves of the same prompts, which want one token each. Units: us per request."""
    one = engine(num_requests, prompt_tokens, waves=2)
    found: Figures = {}
    for wave, part in (("cold", "seat"), ("warm", "hit")):
        coming = requests(wave, num_requests, prompt_tokens, max_tokens=1)
        found["add"] = timed(one.add, coming) / num_requests
        found[part] = timed(run_dry, [one]) / num_requests
    hits = one.stats.prefix_hit_tokens
    assert hits == num_requests * ((prompt_tokens - 1) // BLOCK_SIZE * BLOCK_SIZE), "all were found"
    return found


def storm(num_requests: int, prompt_tokens: int, *, running: bool) -> float:
    """Time aborts of all, who wait or run, in the order of arrival. Units: us per request."""
    one = engine(num_requests, prompt_tokens)
    coming = requests("r", num_requests, prompt_tokens, max_tokens=ROOM_TOKENS)
    for each in coming:
        one.add(each)
    while running and one.stats.waiting:
        one.step()
    took = timed(one.abort, [each.request_id for each in coming])
    assert not one.has_work, "all were ended"
    return took / num_requests


def churn(num_requests: int) -> Figures:
    """Time steps in which one ends and another is seated, and steps of the same size without.

    Units: microseconds per step.
    """
    prompt_tokens = 2 * BLOCK_SIZE
    one = engine(num_requests, prompt_tokens)
    for each in requests("r", num_requests, prompt_tokens, max_tokens=ENDS_AFTER, are_uneven=True):
        one.add(each)
    while one.stats.waiting:
        one.step()
    steady: list[float] = []
    while len(steady) < ENDS_AFTER // 2:
        steady.append(timed_step(one))
    while one.stats.running == num_requests:
        one.step()
    ending: list[float] = []
    coming = requests("n", num_requests, prompt_tokens, max_tokens=ROOM_TOKENS)
    for each in coming[: min(num_requests, 128)]:
        one.add(each)
        ending.append(timed_step(one))
    return {"steady": float(np.median(steady)), "churn": float(np.median(ending))}


def timed_step(one: Engine) -> float:
    """Give the microseconds of one step."""
    start = process_time_ns()
    one.step()
    return (process_time_ns() - start) / 1000


def measure(num_requests: int, prompt_tokens: int) -> Figures:
    """Give all figures of one run."""
    found = waves(num_requests, prompt_tokens)
    found["abort waiting"] = storm(num_requests, prompt_tokens, running=False)
    found["abort running"] = storm(num_requests, prompt_tokens, running=True)
    return found | churn(num_requests)


def main() -> None:
    """Print the quietest figures of some runs; write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description="The host's cost of comings and goings.")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of each prompt")
    parser.add_argument("--runs", type=int, default=3, help="of which the least is taken")
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    arguments = parser.parse_args()
    runs = [measure(arguments.requests, arguments.prompt) for _ in range(arguments.runs)]
    found = {part: round(min(run[part] for run in runs), 1) for part in runs[0]}
    for part, value in found.items():
        print(f"{part:<14} {value:>10.1f} us")
    what = (
        f"host microseconds per request, {arguments.requests} requests of "
        f"{arguments.prompt} tokens; steady and churn per step"
    )
    quiet.write(arguments.out, what, found)


if __name__ == "__main__":
    main()
