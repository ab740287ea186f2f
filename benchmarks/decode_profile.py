"""Where the time of a decode step goes: schedule, batch, every op of the launch, commit, text.

    python benchmarks/decode_profile.py --model SmolLM2.gguf --requests 1 32 --out ...json

Each kernel is wrapped in a clock when the program is bound, so any platform can be profiled; the
clocks cost about a tenth of a microsecond a node. Medians over the measured steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import quiet
import workload

from octavo.config import from_environment
from octavo.detokenize import Detokenizer
from octavo.heart import Heart, heart
from octavo.loading import plan
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo_platforms import place
from octavo_platforms.binding import Binding, BoundEntry
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.graph import Node
from octavo_platforms.inputs import Pending
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import CompileSpec


class Clock:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.count: dict[str, int] = defaultdict(int)

    def around(self, node: Node, kernel: Kernel) -> Kernel:
        """Wrap a kernel so that its runs are counted under its op, its head apart."""
        name = "linear lm_head" if node.scope == "lm_head" else node.op
        run = kernel.run

        def timed(*inputs: object, **given: object) -> object:
            began = time.perf_counter()
            made = run(*inputs, **given)
            self.seconds[name] += time.perf_counter() - began
            self.count[name] += 1
            return made

        return replace(kernel, run=timed)


@dataclass(frozen=True, slots=True)
class Bench:
    """A scheduler and a runner on a program whose kernels are timed."""

    clock: Clock
    heart: Heart


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a .gguf file, or a folder of safetensors")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--context", type=int, default=256, help="prompt tokens of each request")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--out", type=Path, help="where to write JSON")
    args = parser.parse_args()
    report: dict[str, object] = {
        "what": f"one decode step in bfloat16, contexts from {args.context} tokens",
        "machine": quiet.machine(),
    }
    for num_requests in args.requests:
        found = profile(args.model, args.device, num_requests, args.context, args.steps)
        report[f"{num_requests} requests"] = found
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def profile(
    model: str | None, device: str, num_requests: int, context: int, steps: int
) -> dict[str, object]:
    """Run decode steps and give microseconds a step by part."""
    bench, detokenizers = _bench(model, device, num_requests, context + steps + 16)
    for index in range(num_requests):
        prompt = workload.single(seed=index, num_tokens=context)
        params = SamplingParams(temperature=0, max_tokens=steps + 8, ignore_eos=True)
        bench.heart.scheduler.add(Request(f"{index}", prompt, params))
    parts: dict[str, list[float]] = defaultdict(list)
    while (parts_of_step := _step(bench, detokenizers, num_requests)) is not None:
        for name, seconds in parts_of_step.items():
            parts[name].append(seconds)
    measured = {name: statistics.median(each[-steps:]) * 1e6 for name, each in parts.items()}
    return {name: round(us, 1) for name, us in sorted(measured.items(), key=lambda each: -each[1])}


def _step(
    bench: Bench, detokenizers: dict[str, Detokenizer], num_requests: int
) -> dict[str, float] | None:
    """Run one step; gives its parts, nothing for prefill, None when all is done."""
    marks = [time.perf_counter()]

    def mark() -> float:
        marks.append(time.perf_counter())
        return marks[-1] - marks[-2]

    step = bench.heart.scheduler.schedule()
    if step is None:
        return None
    parts = {"schedule": mark()}
    bench.clock.seconds.clear()
    pending: Pending = bench.heart.runner.launch(step)
    result = pending.read()
    launch_s = mark()
    bench.heart.scheduler.name_blocks()
    parts["naming"] = mark()
    delta = bench.heart.scheduler.commit(step, result)
    parts["commit"] = mark()
    for request_id, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
        detokenizers[request_id].push([token])
    parts["text"] = mark()
    ops = {f"op {name}": seconds for name, seconds in bench.clock.seconds.items()}
    parts |= ops
    parts["batch, dispatch and read"] = launch_s - sum(ops.values())
    parts["whole step"] = marks[-1] - marks[0]
    is_decode = len(step.seats) == num_requests and int(step.num_tokens.max()) == 1
    return parts if is_decode else {}


def _bench(
    model: str | None, device: str, num_requests: int, num_context: int
) -> tuple[Bench, dict[str, Detokenizer]]:
    settings = replace(
        from_environment(),
        model=model,
        device=device,
        dtype="bfloat16",
        max_context_tokens=num_context,
        max_requests=num_requests,
    )
    made = plan(settings)
    clock = Clock()
    context = made.platform.open_device((0,), DeviceSettings())
    weights = place(
        made.program, made.binding, made.checkpoint.source, made.platform.make_memory(context)
    )
    assert made.resolved.num_blocks is not None, "the model that is measured keeps blocks"
    num_blocks = made.resolved.num_blocks + 1
    blocks = {state.name: num_blocks for state in made.program.states}
    spec = CompileSpec(
        program=made.program,
        binding=_timed(made.binding, clock),
        weights=weights,
        num_blocks=blocks,
    )
    program = made.platform.compile(spec, context)
    program.warm_up(lambda stage, done, total: None)
    resolved = made.resolved
    limits = Limits(
        max_context_tokens=resolved.max_context_tokens,
        num_blocks=num_blocks,
        block_size=resolved.block_size,
        max_requests=resolved.max_requests,
        max_step_tokens=resolved.max_step_tokens,
        vocab_size=made.program.entries["sample"]
        .tensor_type(made.program.entries["sample"].leaves_of("input")[0].value)
        .shape[1],  # type: ignore[arg-type]
        prefix_caching=True,
    )
    tokenizer = made.checkpoint.tokenizer()
    detokenizers = {f"{index}": Detokenizer(tokenizer) for index in range(num_requests)}
    return Bench(clock, heart(program, limits)), detokenizers


def _timed(binding: Binding, clock: Clock) -> Binding:
    entries = {
        name: BoundEntry(
            entry.graph,
            tuple(
                replace(choice, kernel=clock.around(node, choice.to_call()))
                for node, choice in zip(entry.graph.nodes, entry.choices, strict=True)
            ),
        )
        for name, entry in binding.entries.items()
    }
    return Binding(entries, binding.layouts)


if __name__ == "__main__":
    main()
