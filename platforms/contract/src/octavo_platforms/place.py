"""Placing: every weight once, from its recipe to the device, packed, its host copy freed.

Weights are made on the host at one desk that has room for the largest of them, so the host needs
no more beside what is placed:

    reader   make w0 | make w1  | make w2   ...     a weight and the next one share the desk,
    caller           | bring w0 | bring w1  ...     where both fit; else they take turns

The desk's memory is used again: the pages of a new array have to be found and cleared, which takes
longer than filling them. A weight that only linear layers of one kind read is packed for their
kernel, from the host's array where it can; any other stays as it is, and its readers share that
one copy.

Knows nothing of files (a `WeightSource` does) nor of how progress is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import zip_longest
from math import prod

import numpy as np

from octavo_platforms.asking import shared_weights
from octavo_platforms.binding import Binding
from octavo_platforms.platform import DeviceTensor, Instruction, Kernel, Memory
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import ALONE, RankOf, WeightSource, fill, shape_of
from octavo_platforms.tensor import DType, HostTensor, itemsize, storage

OnWeight = Callable[[WeightDef], None]
OnMade = Callable[[WeightDef, HostTensor], None]
_Bring = Callable[[HostTensor], DeviceTensor]
_ALIGNMENT_BYTES = 64


class Desk:
    """Room on the host for weights of a given size: for one, or for two that fit side by side."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._room = np.empty(num_bytes, np.uint8)

    def has_room(self, *sizes_bytes: int) -> bool:
        """Tell whether tensors fit side by side."""
        return sum(sizes_bytes) + _ALIGNMENT_BYTES <= self.num_bytes

    def room(self, shape: tuple[int, ...], dtype: DType, *, is_behind: bool = False) -> HostTensor:
        """Give room for a tensor at the front, or behind it, up to the end.

        Effects: the result is not cleared; it aliases what was given there before.
        """
        num_bytes = prod(shape) * itemsize(dtype)
        start = self.num_bytes - num_bytes if is_behind else 0
        start -= start % _ALIGNMENT_BYTES
        room = self._room[start : start + num_bytes]
        return HostTensor(room.view(storage(dtype)).reshape(shape), dtype)


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

    Effects: reads the source in a thread of its own, which has ended when this returns. An error,
        also one that a callback raises, gives back what was placed before it.
    Raises: KeyError, for a tensor that the source lacks; ValueError, for one of another shape
        than the model expects, with its name and both shapes.
    """
    packers = _packers(program, binding, memory)
    placed: dict[str, DeviceTensor] = {}
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="weights") as reader:
            for weight, found in _made(program.weights, source, rank_of, reader):
                on_made(weight, found)
                placed[weight.name] = packers.get(weight.name, memory.to_device)(found)
                on_weight(weight)
    except BaseException:
        for name in list(placed):
            tensor = placed.pop(name)
            if name not in packers:
                memory.free(tensor)
        raise
    return placed


def made(
    weight: WeightDef,
    source: WeightSource,
    rank_of: RankOf = ALONE,
    into: HostTensor | None = None,
) -> HostTensor:
    """Make one weight on the host, in its dtype; in an array of its own where none is given.

    Raises: ValueError, where its shape is not what the model expects.
    """
    shape = shape_of(weight.recipe, source)
    if shape != weight.shape:
        raise ValueError(
            f"the weight '{weight.name}' has the shape {list(shape)}, "
            f"but the model expects {list(weight.shape)}"
        )
    if into is None:
        into = HostTensor(np.empty(weight.shape, storage(weight.dtype)), weight.dtype)
    fill(weight.recipe, source, into, rank_of)
    return into


def _made(
    weights: Sequence[WeightDef], source: WeightSource, rank_of: RankOf, reader: Executor
) -> Iterator[tuple[WeightDef, HostTensor]]:
    """Make weights at one desk, each while the one before it is brought, if both fit.

    Effects: a weight holds until the next one is asked for.
    """
    desk = Desk(max((weight.num_bytes for weight in weights), default=0))
    coming: Future[HostTensor] | None = None
    is_behind = False
    for weight, after in zip_longest(weights, weights[1:]):
        if coming is None:
            room = desk.room(weight.shape, weight.dtype, is_behind=is_behind)
            coming = reader.submit(made, weight, source, rank_of, room)
        found, coming = coming.result(), None
        is_behind = not is_behind
        if after is not None and desk.has_room(weight.num_bytes, after.num_bytes):
            room = desk.room(after.shape, after.dtype, is_behind=is_behind)
            coming = reader.submit(made, after, source, rank_of, room)
        yield weight, found


def _packers(program: ProgramDef, binding: Binding, memory: Memory) -> dict[str, _Bring]:
    """Give what brings each weight that is packed.

    What a kernel packed goes away with its last reference, by itself.
    """
    shared = shared_weights(program)
    found: dict[str, _Bring] = {}
    for entry in binding.entries.values():
        name_of = {leaf.value: leaf.name for leaf in entry.graph.leaves_of("weight")}
        for node, choice in zip(entry.graph.nodes, entry.choices, strict=True):
            bring = _bring(choice.kernel, memory)
            if node.op != "linear" or bring is None:
                continue
            name = name_of.get(node.inputs[1])
            if name is not None and name not in shared:
                found[name] = bring
    return found


def _bring(kernel: Kernel | Instruction, memory: Memory) -> _Bring | None:
    if kernel.pack_host is not None:
        return kernel.pack_host
    pack = kernel.pack
    return None if pack is None else lambda found: pack(memory.to_device(found))
