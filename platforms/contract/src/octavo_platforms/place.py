"""Placing: every weight once, from its recipe to the device, packed, its host copy freed.

One weight is in flight at a time, so the host needs no more than the largest of them beside
what is placed. A weight that only linear layers of one kind read is packed for their kernel;
any other stays as it is, and its readers share that one copy.

Knows nothing of files (a `WeightSource` does) nor of how progress is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from octavo_platforms.asking import shared_weights
from octavo_platforms.binding import Binding
from octavo_platforms.platform import DeviceTensor, Memory
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import WeightSource, pull
from octavo_platforms.tensor import HostTensor, cast

OnWeight = Callable[[WeightDef], None]


def place(
    program: ProgramDef,
    binding: Binding,
    source: WeightSource,
    memory: Memory,
    *,
    on_weight: OnWeight = lambda weight: None,
) -> Mapping[str, DeviceTensor]:
    """Bring all weights to the device; calls `on_weight` after each.

    Raises: KeyError, for a tensor that the source lacks; ValueError, for one of another shape
        than the model expects, with its name and both shapes.
    """
    packers = _packers(program, binding)
    placed: dict[str, DeviceTensor] = {}
    for weight in program.weights:
        tensor = memory.to_device(made(weight, source))
        pack = packers.get(weight.name)
        placed[weight.name] = tensor if pack is None else pack(tensor)
        on_weight(weight)
    return placed


def made(weight: WeightDef, source: WeightSource) -> HostTensor:
    """Make one weight on the host, in its dtype.

    Raises: ValueError, where its shape is not what the model expects.
    """
    found = pull(weight.recipe, source)
    if found.shape != weight.shape:
        raise ValueError(
            f"the weight '{weight.name}' has the shape {list(found.shape)}, "
            f"but the model expects {list(weight.shape)}"
        )
    return cast(found, weight.dtype)


def _packers(
    program: ProgramDef, binding: Binding
) -> dict[str, Callable[[DeviceTensor], DeviceTensor]]:
    shared = shared_weights(program)
    found: dict[str, Callable[[DeviceTensor], DeviceTensor]] = {}
    for entry in binding.entries.values():
        name_of = {leaf.value: leaf.name for leaf in entry.graph.leaves_of("weight")}
        for node, choice in zip(entry.graph.nodes, entry.choices, strict=True):
            kernel = choice.kernel
            if node.op != "linear" or kernel.pack is None:
                continue
            name = name_of.get(node.inputs[1])
            if name is not None and name not in shared:
                found[name] = kernel.pack
    return found
