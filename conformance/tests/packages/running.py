"""Runs a model on an installed platform, and tells what came of it as one line of JSON.

The tests start it in a process of its own, where the packages beside it are installed. Knows
none of them by name but the private model's.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from octavo.graph.passes import optimised
from octavo.sampling import SamplingParams
from octavo.testing.drive import generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_conformance.bench import Bench, Device
from octavo_conformance.steps import Step
from octavo_conformance.subject import find
from octavo_conformance.untouched import changes, snapshot
from octavo_platforms import bind, discover
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType

OTHERS = ("octavo", "octavo_platforms", "octavo_torch")
VOCAB, NUM_TOKENS = 101, 24
PROMPTS: Sequence[Sequence[int]] = ([5, 17, 3], list(range(40)), [99])


def toy(name: str) -> None:
    """Load a platform, generate with the toy, and say what that changed in what is not its own."""
    import_all(OTHERS)
    before = snapshot(OTHERS)
    platform = discover.load(name)
    program = llama.program(llama.spec())
    running = run_on(platform, program, RandomWeights(program))
    params = SamplingParams(temperature=0, max_tokens=NUM_TOKENS)
    outputs = generate(running.engine(vocab_size=VOCAB), PROMPTS, params)
    found = changes(before, snapshot(OTHERS))
    print(json.dumps({"outputs": outputs, "changes": found, **told(platform, program)}))


def private(name: str, dtype: DType) -> None:
    """Run the private model, twice, on a platform that registers its ops."""
    model = importlib.import_module("octavo_ops.model")
    platform = discover.load(name)
    program: ProgramDef = model.program(platform.catalogue, dtype)
    source = RandomWeights(program, scale=0.5)
    subject = find(name)
    bench = Bench(subject, Device(subject))
    running = bench.start(program, {each: source.read(each) for each in source.names()})
    step = Step(queries=(4,), token_ids=[3, 7, 3, 10])
    first, second = (running.run("forward", step)["out"].array for _ in range(2))
    counts = running.run("counts", step)["counts"].array.tolist()
    shown = {"counts": counts, "same": bool(np.array_equal(first, second))}
    print(json.dumps({**shown, **told(platform, program)}))


def told(platform: Platform, program: ProgramDef) -> Mapping[str, object]:
    """Say who runs what, in which layout, and who was passed over."""
    is_generator = "sample" in program.entries
    better = optimised(program, one_step=True) if is_generator else program
    context = platform.open_device((0,), DeviceSettings())
    binding = bind(better, platform, context)
    return {
        "providers": providers(binding),
        "refusals": refusals(binding),
        "layouts": {name: layout.name for name, layout in binding.layouts.items()},
    }


def providers(binding: Binding) -> Mapping[str, Sequence[str]]:
    """Name the providers of each op; a piece of a compound with the compound's name."""
    found: dict[str, set[str]] = {}
    for entry in binding.entries.values():
        for node, choice in zip(entry.graph.nodes, entry.choices, strict=True):
            op = node.op if choice.compound is None else f"{node.op} of {choice.compound}"
            found.setdefault(op, set()).add(choice.provider)
    return {op: sorted(names) for op, names in found.items()}


def refusals(binding: Binding) -> Sequence[str]:
    """Give every refusal once."""
    return sorted(
        {
            refusal
            for entry in binding.entries.values()
            for choice in entry.choices
            for refusal in choice.refusals
        }
    )


def import_all(packages: Sequence[str]) -> None:
    """Import every module of some packages, so that none is imported later."""
    for name in packages:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # a module for an extra that is not installed
                    importlib.import_module(module.name)
