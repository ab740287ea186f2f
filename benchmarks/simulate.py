"""Ten thousand requests through the scheduler: what a smaller cache costs, and a picture of it.

    python benchmarks/simulate.py --out benchmarks/results/simulate.json

Each pattern of arrivals runs with a cache that nobody ever waits for, with one of just the peak
that was used there, with half and with a quarter of it. Time is in steps, on a device without
work: figures are the scheduler's, whatever the machine. The picture, of blocks held and of those
who wait over time, is written beside the figures.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from picture import Line, Panel, svg

from octavo.scheduler import Limits
from octavo.testing.simulation import PATTERNS, Ran, Visit, simulate

SHARES: Mapping[str, float] = {"all that was used": 1.0, "half of it": 0.5, "a quarter": 0.25}
UNLIMITED = "unlimited"


def limits(num_requests: int) -> Limits:
    """Give every running request room for its whole context."""
    return Limits(
        max_context_tokens=1024,
        num_blocks=num_requests * 64 + 1,
        block_size=16,
        max_requests=num_requests,
        max_step_tokens=2048,
        vocab_size=1000,
        prefix_caching=False,
    )


def runs(visits: Sequence[Visit], allowed: Limits, *, depth: int) -> dict[str, Ran]:
    """Run a pattern with each size of cache."""
    free = simulate(visits, allowed, depth=depth)
    peak = int(free.trace.held_blocks.max())
    found = {UNLIMITED: free}
    for name, share in SHARES.items():
        tight = replace(allowed, num_blocks=max(int(peak * share), 64) + 1)
        found[name] = simulate(visits, tight, depth=depth)
    return found


def figures(ran: Ran, free: Ran) -> dict[str, float]:
    """Sum a run up, against the one with an unlimited cache."""
    return {
        "steps": ran.num_steps,
        "tokens_per_step": round(ran.tokens_per_step, 1),
        "of_unlimited": round(ran.tokens_per_step / free.tokens_per_step, 4),
        "recomputed_share": round(ran.recomputed_share, 4),
        "preemptions": int(ran.trace.preemptions[-1]),
        "peak_blocks": int(ran.trace.held_blocks.max()),
        "median_wait_steps": float(np.median(ran.waits)),
        "longest_wait_steps": max(ran.waits),
    }


def main() -> None:
    """Print the figures; write them and the picture where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000, help="requests that come")
    parser.add_argument("--running", type=int, default=256, help="requests that may run at once")
    parser.add_argument("--depth", type=int, default=2, help="steps in flight")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write JSON, and beside it the picture")
    args = parser.parse_args()
    allowed = limits(args.running)
    report: dict[str, object] = {
        "what": f"{args.requests} requests, {args.running} at once, {args.depth} steps in flight",
    }
    panels = []
    for pattern, make in PATTERNS.items():
        visits = make(args.requests, allowed, random.Random(args.seed))
        found = runs(visits, allowed, depth=args.depth)
        told = {name: figures(ran, found[UNLIMITED]) for name, ran in found.items()}
        report[pattern] = told
        print(json.dumps({pattern: told}, indent=1), flush=True)
        lines = [Line(name, ran.trace.held_blocks) for name, ran in found.items()]
        waits = [Line(name, ran.trace.waiting) for name, ran in found.items()]
        panels += [Panel(f"{pattern}: blocks held", lines), Panel(f"{pattern}: waiting", waits)]
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        picture = svg(f"Requests and blocks over time ({report['what']})", panels)
        args.out.with_suffix(".svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
