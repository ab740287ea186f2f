"""Placing: each weight once, packed where only linear layers of one kind read it.

Does not know any file format or device: device tensors are lists of what happened to them.
"""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from octavo_platforms.binding import Binding, BoundEntry, Choice
from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.graph import GraphWriter, TensorType
from octavo_platforms.ops import STANDARD, Emitter
from octavo_platforms.place import Desk, made, place
from octavo_platforms.platform import DeviceTensor, Kernel
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import Cut, Join, Recipe, Take, pull
from octavo_platforms.tensor import Array, DType, HostTensor, cast, host

TENSOR = np.arange(32, dtype=np.float32).reshape(8, 4)


class Checkpoint:
    """One tensor."""

    def names(self) -> list[str]:
        return ["w"]

    def shape(self, name: str) -> tuple[int, ...]:
        return TENSOR.shape

    def dtype(self, name: str) -> DType:
        return "float32"

    def read(self, name: str) -> HostTensor:
        return {"w": host(TENSOR)}[name]


class Numbered:
    """Tensors that hold their own number; as many elements as are given by name."""

    def __init__(self, size_of: Mapping[str, int]) -> None:
        self._size_of = size_of

    def names(self) -> list[str]:
        return list(self._size_of)

    def shape(self, name: str) -> tuple[int, ...]:
        return (self._size_of[name],)

    def dtype(self, name: str) -> DType:
        return "float32"

    def read(self, name: str) -> HostTensor:
        return host(np.full(self._size_of[name], int(name[1:]), np.float32))


class Slow(Numbered):
    """The same, of which the second takes its time, and says when it has begun."""

    def __init__(self, size_of: Mapping[str, int]) -> None:
        super().__init__(size_of)
        self.begun = threading.Event()

    def read(self, name: str) -> HostTensor:
        if name == "w1":
            self.begun.set()
            time.sleep(0.2)
        return super().read(name)


class NumberedInPlace(Numbered):
    """The same, put where they are wanted."""

    def fill(self, name: str, into: HostTensor) -> None:
        into.array[...] = np.float32(name[1:])


class Memory:
    """Memory that notes what was brought to it."""

    def __init__(self) -> None:
        self.brought: list[HostTensor] = []
        self.freed: list[DeviceTensor] = []

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        raise MemoryError("nothing is allocated while placing")

    def free(self, tensor: DeviceTensor) -> None:
        self.freed.append(tensor)

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        self.brought.append(replace(tensor, array=tensor.array[:0]))
        return DeviceTensor(f"placed {len(self.brought)}")

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        raise MemoryError("nothing is read back while placing")

    def stats(self) -> MemoryStats:
        return MemoryStats(1, 1)


class Copying(Memory):
    """Memory that keeps a copy of what is brought."""

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        return DeviceTensor(tensor.array.copy())


KERNEL = Kernel(name="k", run=print, pack=lambda tensor: DeviceTensor(f"packed {tensor}"))


def program(ops: Sequence[str], kernel: Kernel = KERNEL) -> tuple[ProgramDef, Binding]:
    """Apply ops that read the weight `w`, each bound to a kernel that packs."""
    writer = GraphWriter()
    emit = Emitter(writer, STANDARD, "toy")
    weight = writer.leaf("weight", "w", TensorType((8, 4), "float32"))
    x = writer.leaf("input", "x", TensorType((3, 4), "float32"))
    narrow = writer.leaf("input", "narrow", TensorType((3, 4), "bfloat16"))
    ids = writer.leaf("input", "token_ids", TensorType((3,), "int32"))
    for op in ops:
        match op:
            case "embedding":
                emit("embedding", weight, ids)
            case "narrow":
                emit("linear", narrow, weight)
            case _:
                emit("linear", x, weight)
    graph = writer.finish()
    entry = BoundEntry(graph, tuple(Choice(kernel, "toy", (), None) for _ in graph.nodes))
    weights = (WeightDef("w", (8, 4), "float32", Take("w")),)
    return ProgramDef("toy", {"run": graph}, weights, (), (), ()), Binding({"run": entry}, {})


def placed(ops: Sequence[str]) -> dict[str, str]:
    definition, binding = program(ops)
    memory = Memory()
    found = place(definition, binding, Checkpoint(), memory)
    assert len(memory.brought) == 1
    return {name: str(tensor) for name, tensor in found.items()}


def test_weight_of_linear_layers_alone_is_packed_once() -> None:
    assert placed(["linear"]) == {"w": "packed placed 1"}
    assert placed(["linear", "linear"]) == {"w": "packed placed 1"}


def test_weight_with_another_reader_stays_as_it_was_placed() -> None:
    assert placed(["embedding", "linear"]) == {"w": "placed 1"}
    assert placed(["linear", "narrow"]) == {"w": "placed 1"}


def test_a_kernel_that_packs_the_hosts_array_is_given_it_and_nothing_is_brought_before() -> None:
    packed: list[HostTensor] = []

    def pack_host(tensor: HostTensor) -> DeviceTensor:
        packed.append(tensor)
        return DeviceTensor("packed on the host")

    definition, binding = program(["linear"], replace(KERNEL, pack_host=pack_host))
    memory = Memory()
    found = place(definition, binding, Checkpoint(), memory)
    assert str(found["w"]) == "packed on the host"
    assert memory.brought == []
    assert np.array_equal(packed[0].array, TENSOR)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_join_made_at_a_desk_is_what_is_pulled_and_cast(axis: int, dtype: DType) -> None:
    join = Join((Cut(Take("w"), axis, 1, 3), Take("w"), Cut(Take("w"), axis, 0, 1)), axis)
    whole = pull(join, Checkpoint())
    weight = WeightDef("w", whole.shape, dtype, join)
    found = made(weight, Checkpoint())
    assert found.dtype == dtype
    assert np.array_equal(found.array, cast(whole, dtype).array)


def test_two_weights_that_fit_beside_each_other_at_a_desk_share_no_byte_of_it() -> None:
    desk = Desk(1000)
    front = desk.room((100,), "float32")
    behind = desk.room((267,), "bfloat16", is_behind=True)
    assert desk.has_room(front.num_bytes, behind.num_bytes)
    assert not np.shares_memory(front.array, behind.array)
    assert not desk.has_room(400, 537)
    for is_behind in (False, True):
        assert desk.room((10, 50), "bfloat16", is_behind=is_behind).shape == (10, 50)


@pytest.mark.parametrize(
    "parts", [(Take("w"), Take("w")), (Take("w"),) * 4, (Take("w"), Cut(Take("w"), 1, 0, 2))]
)
def test_a_join_of_parts_that_do_not_fit_is_an_error(parts: tuple[Recipe, ...]) -> None:
    with pytest.raises(ValueError, match=r"expects \[24, 4\]|cannot be joined"):
        made(WeightDef("w", (24, 4), "float32", Join(parts)), Checkpoint())


@pytest.mark.parametrize("sizes", [(9, 1, 2, 3, 1), (4, 4, 4, 4), (3, 8, 3, 4), (1,)])
def test_weights_made_while_others_are_brought_arrive_as_they_are(sizes: tuple[int, ...]) -> None:
    """Two in a row share no byte where they fit, for the second may be made already."""
    names = [f"w{number}" for number in range(len(sizes))]
    weights = tuple(
        WeightDef(name, (64 * size,), "float32", Take(name))
        for name, size in zip(names, sizes, strict=True)
    )
    source = Numbered({name: 64 * size for name, size in zip(names, sizes, strict=True)})
    arrays: list[Array] = []
    found = place(
        ProgramDef("toy", {}, weights, (), (), ()),
        Binding({}, {}),
        source,
        Copying(),
        on_made=lambda weight, tensor: arrays.append(tensor.array),
    )
    for one, other in pairwise(arrays):
        fit = one.nbytes + other.nbytes < 256 * max(sizes)
        assert np.shares_memory(one, other) != fit
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        assert np.array_equal(np.asarray(found[name]), np.full(64 * size, number))


def test_the_host_holds_no_more_than_the_largest_weight_while_placing() -> None:
    sizes = [1 << 16, 1 << 18, 1 << 17, 1 << 17, 1 << 16, 1 << 18]
    weights = tuple(
        WeightDef(f"w{number}", (size,), "float32", Take(f"w{number}"))
        for number, size in enumerate(sizes)
    )
    source = NumberedInPlace({weight.name: weight.shape[0] for weight in weights})
    tracemalloc.start()
    try:
        place(ProgramDef("toy", {}, weights, (), (), ()), Binding({}, {}), source, Memory())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * max(sizes) + 100_000


def test_a_reader_has_ended_when_placing_was_broken_off() -> None:
    weights = tuple(WeightDef(f"w{n}", (64 << n,), "float32", Take(f"w{n}")) for n in range(4))
    source = Slow({weight.name: weight.shape[0] for weight in weights})

    def interrupt(weight: WeightDef) -> None:
        source.begun.wait()
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        place(
            ProgramDef("toy", {}, weights, (), (), ()),
            Binding({}, {}),
            source,
            Copying(),
            on_weight=interrupt,
        )
    assert threading.active_count() == before


def test_every_weight_is_reported_when_it_is_there() -> None:
    definition, binding = program(["linear"])
    told: list[str] = []
    place(definition, binding, Checkpoint(), Memory(), on_weight=lambda w: told.append(w.name))
    assert told == ["w"]


def test_host_sees_each_weight_in_its_dtype_before_the_device_does() -> None:
    definition, binding = program(["linear"])
    memory = Memory()
    seen: list[tuple[str, str, int]] = []
    place(
        definition,
        binding,
        Checkpoint(),
        memory,
        on_made=lambda w, tensor: seen.append((w.name, tensor.dtype, len(memory.brought))),
    )
    assert seen == [("w", "float32", 0)]


@pytest.mark.parametrize(("ops", "freed"), [(["embedding"], ["placed 1"]), (["linear"], [])])
def test_what_was_placed_before_an_error_is_given_back(ops: list[str], freed: list[str]) -> None:
    definition, binding = program(ops)
    memory = Memory()

    def refuse(weight: WeightDef) -> None:
        raise RuntimeError(f"after {weight.name}")

    with pytest.raises(RuntimeError, match="after w"):
        place(definition, binding, Checkpoint(), memory, on_weight=refuse)
    assert [str(tensor) for tensor in memory.freed] == freed


def test_weight_of_another_shape_is_an_error_with_name_and_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"'w' has the shape \[2, 4\].* expects \[8, 4\]"):
        made(WeightDef("w", (8, 4), "float32", Cut(Take("w"), 0, 0, 2)), Checkpoint())


def test_weight_arrives_in_the_dtype_of_the_model() -> None:
    found = made(WeightDef("w", (8, 4), "bfloat16", Take("w")), Checkpoint())
    assert (found.dtype, found.shape) == ("bfloat16", (8, 4))


def test_missing_tensor_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="absent"):
        made(WeightDef("w", (8, 4), "float32", Take("absent")), Checkpoint())
