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
from octavo_platforms.recipes import ALONE, RankOf, WeightSource, pull
from octavo_platforms.tensor import HostTensor, cast

OnWeight = Callable[[WeightDef], None]
OnMade = Callable[[WeightDef, HostTensor], None]
_Pack = Callable[[DeviceTensor], DeviceTensor]


def place(
    program: ProgramDef,
    binding: Binding,
    source: WeightSource,
    memory: Memory,
    *,
    rank_of: RankOf = ALONE,
    on_made: OnMade = lambda weight, tensor: None,
    on_weight: OnWeight = lambda weight: None,
) -> Mapping[str, DeviceTensor]:
    """Bring all weights to the device.

    `on_made` is called with each before it leaves the host, `on_weight` when it has arrived.
    `rank_of` gives this rank's own number in each group that cuts weights.

    Effects: an error, also one that a callback raises, gives back what was placed before it.
    Raises: KeyError, for a tensor that the source lacks; ValueError, for one of another shape
        than the model expects, with its name and both shapes.
    """
    packers = _packers(program, binding)
    placed: dict[str, DeviceTensor] = {}
    try:
        for weight in program.weights:
            found = made(weight, source, rank_of)
            on_made(weight, found)
            placed[weight.name] = _brought(found, memory, packers.get(weight.name))
            del found  # or two weights were in flight
            on_weight(weight)
    except BaseException:
        for name in list(placed):
            tensor = placed.pop(name)
            if name not in packers:
                memory.free(tensor)
        raise
    return placed


def _brought(found: HostTensor, memory: Memory, pack: _Pack | None) -> DeviceTensor:
    """Bring one weight; what a kernel packed goes away with its last reference, by itself."""
    tensor = memory.to_device(found)
    return tensor if pack is None else pack(tensor)


def made(weight: WeightDef, source: WeightSource, rank_of: RankOf = ALONE) -> HostTensor:
    """Make one weight on the host, in its dtype.

    Raises: ValueError, where its shape is not what the model expects.
    """
    found = pull(weight.recipe, source, rank_of)
    if found.shape != weight.shape:
        raise ValueError(
            f"the weight '{weight.name}' has the shape {list(found.shape)}, "
            f"but the model expects {list(weight.shape)}"
        )
    return cast(found, weight.dtype)


def _packers(program: ProgramDef, binding: Binding) -> dict[str, _Pack]:
    shared = shared_weights(program)
    found: dict[str, _Pack] = {}
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
