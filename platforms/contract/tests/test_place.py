"""Placing: each weight once, packed where only linear layers of one kind read it.

Does not know any file format or device: device tensors are lists of what happened to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from octavo_platforms.binding import Binding, BoundEntry, Choice
from octavo_platforms.capabilities import MemoryStats
from octavo_platforms.graph import GraphWriter, TensorType
from octavo_platforms.ops import STANDARD, Emitter
from octavo_platforms.place import made, place
from octavo_platforms.platform import DeviceTensor, Kernel
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import Cut, Take
from octavo_platforms.tensor import DType, HostTensor, host

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
        self.brought.append(tensor)
        return DeviceTensor(f"placed {len(self.brought)}")

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        raise MemoryError("nothing is read back while placing")

    def stats(self) -> MemoryStats:
        return MemoryStats(1, 1)


def program(ops: Sequence[str]) -> tuple[ProgramDef, Binding]:
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
    kernel = Kernel(name="k", run=print, pack=lambda tensor: DeviceTensor(f"packed {tensor}"))
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
