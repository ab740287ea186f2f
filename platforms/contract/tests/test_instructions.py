"""Instructions: what a platform answers that compiles whole programs, in the place of kernels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octavo_platforms.bind import bind
from octavo_platforms.binding import Choice
from octavo_platforms.capabilities import DeviceInfo, PlatformInfo
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Dim, GraphWriter, StateType, TensorType
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Emitter
from octavo_platforms.platform import Instruction, Kernel, StateLayout
from octavo_platforms.program import Plane, ProgramDef, StateSpec

SLOTS_FIRST = StateLayout("slots first", ("B", "P", "K", "D"))
HEADS_FIRST = StateLayout("heads first", ("B", "K", "P", "D"))
T = Dim("T")


class Context:
    """Opened devices that nobody uses."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        """Do nothing."""


class Compiler:
    """A platform of instructions; writes and reads of states in the given layouts."""

    def __init__(self, writes: Sequence[StateLayout], reads: Sequence[StateLayout]) -> None:
        self._writes, self._reads = tuple(writes), tuple(reads)

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Give the least."""
        return PlatformInfo(name="toy", device="toy", vendor="none", dtypes=("float32",))

    @hookimpl
    def bind_kv_write(self) -> Instruction:
        """Write."""
        return Instruction(name="toy.write", code=1, layouts=self._writes)

    @hookimpl
    def bind_kv_read(self) -> Instruction:
        """Read."""
        return Instruction(name="toy.read", code=2, layouts=self._reads)


def program() -> ProgramDef:
    writer = GraphWriter()
    emit = Emitter(writer, STANDARD, "toy")
    k, v = (writer.leaf("input", name, TensorType((T, 2, 4), "float32")) for name in "kv")
    slots = writer.leaf("input", "slots", TensorType((T,), "int32"))
    state = writer.leaf("state", "kv.0", StateType("kv", 0))
    emit("kv_write", k, v, slots, state)
    found = emit("kv_read", slots, state, num_kv_heads=2, head_width=4, dtype="float32")
    writer.output("k", found[0])
    planes = tuple(Plane(name, (2, 4), "float32") for name in "kv")
    states = (StateSpec("kv", "paged", planes, 1, 4),)
    return ProgramDef("toy", {"run": writer.finish()}, (), (), states, ())


def test_instructions_agree_on_a_layout_as_kernels_do() -> None:
    toy = Platform(Compiler([SLOTS_FIRST, HEADS_FIRST], [HEADS_FIRST]))
    binding = bind(program(), toy, Context())
    assert binding.layouts["kv"] == HEADS_FIRST
    codes = [choice.to_compile().code for choice in binding.entries["run"].choices]
    assert codes == [1, 2]


def test_instructions_without_a_common_layout_are_refused() -> None:
    with pytest.raises(CannotBind, match="kv"):
        bind(program(), Platform(Compiler([SLOTS_FIRST], [HEADS_FIRST])), Context())


def test_an_instruction_is_not_called_and_a_kernel_not_compiled() -> None:
    kernel, instruction = Kernel(name="acme.add", run=print), Instruction(name="toy.add", code=7)
    called, compiled = (Choice(each, "acme", (), None) for each in (kernel, instruction))
    assert called.to_call() is kernel
    assert compiled.to_compile() is instruction
    with pytest.raises(CannotBind, match=r"'toy\.add' by acme is an instruction"):
        compiled.to_call()
    with pytest.raises(CannotBind, match=r"'acme\.add' by acme is a kernel"):
        called.to_compile()
