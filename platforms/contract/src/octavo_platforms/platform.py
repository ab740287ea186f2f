"""What a platform's objects do: device contexts, memory, kernels, programs.

    open_device ──> DeviceContext ──> make_memory ──> Memory
                         │
    bind_* ──> Kernel ───┴──> compile ──> Program ──launch──> Pending ──read──> StepResult

Kernels take and give device tensors, which are opaque here: a torch tensor, a JAX array, a
numpy array. A platform that compiles whole programs answers with instructions instead, which
only its own `compile` can read. Knows nothing of who implements these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NewType, Protocol

from octavo_platforms.capabilities import DeviceInfo, MemoryStats
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.shapes import ShapePolicy
from octavo_platforms.tensor import DType, HostTensor

DeviceTensor = NewType("DeviceTensor", object)
Run = Callable[..., object]
Report = Callable[[str, int, int], None]


class DeviceContext(Protocol):
    """Opened devices. Whatever a platform keeps between calls, it keeps here."""

    @property
    def devices(self) -> tuple[DeviceInfo, ...]:
        """Give the devices that are open."""
        ...

    def close(self) -> None:
        """Give everything back. Closing twice does nothing."""
        ...


class Memory(Protocol):
    """Memory of an opened device."""

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give a tensor of zeros. Raises: MemoryError, with the numbers."""
        ...

    def free(self, tensor: DeviceTensor) -> None:
        """Give a tensor's memory back; it must not be used any more."""
        ...

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy to the device. The result never changes when the host array does."""
        ...

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Copy to the host; waits for the device."""
        ...

    def stats(self) -> MemoryStats:
        """Tell how much there is and how much is free."""
        ...


@dataclass(frozen=True, slots=True)
class StateLayout:
    """The order in which the axes of a state's planes stand in memory.

    `axes` names them: B blocks, P slots of a block, then the planes' own axes: K and D for
    keys and values. ("B", "P", "K", "D") keeps a slot's heads together. A plane that lacks an
    axis leaves it out. Layouts with equal axes are equal; the name is for people.
    """

    name: str = field(compare=False)
    axes: tuple[str, ...]

    def shape(self, plane: Plane, *, num_blocks: int, block_size: int) -> tuple[int, ...]:
        """Give the shape of a plane's tensor in this layout."""
        own = zip(plane.axes, plane.shape, strict=True)
        extents = {"B": num_blocks, "P": block_size, **dict(own)}
        return tuple(extents[axis] for axis in self.axes if axis in extents)

    def orders(self, state: StateSpec) -> bool:
        """Tell whether it names every axis of a state once, and no other."""
        return sorted(self.axes) == sorted(state.axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """An op's code, bound to one spec.

    `run` takes the node's inputs in order (a state as the tuple of its planes) and gives its
    output, a tuple of several, or None. `pack` turns a placed linear weight into what `run`
    wants; `pack_host` makes the same of one that is still the host's, which saves a copy where
    a device reads host memory. It keeps nothing of the array, whose memory is used again, and
    goes before `pack`. `prepare` is called once a step, from host data only; what it gives is
    passed to `run` as the keyword `prepared`.
    """

    name: str
    run: Run
    pack: Callable[[DeviceTensor], DeviceTensor] | None = None
    pack_host: Callable[[HostTensor], DeviceTensor] | None = None
    prepare: Callable[[StepInputs], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateKernel:
    """A kernel that touches a state, before the layout is agreed on.

    `layouts` are those it can work with, the preferred one first; `at` gives its code for one.
    """

    name: str
    layouts: tuple[StateLayout, ...]
    at: Callable[[StateLayout], Kernel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An op that `compile` itself makes, as a part of a whole program: nothing to call.

    For platforms whose programs are not walked in Python. `code` is what their own `compile`
    reads; no other understands it. `pack` and `pack_host` are as a kernel's. `layouts` are those
    that it can work with, where it touches a state, the preferred one first.
    """

    name: str
    code: object
    pack: Callable[[DeviceTensor], DeviceTensor] | None = None
    pack_host: Callable[[HostTensor], DeviceTensor] | None = None
    layouts: tuple[StateLayout, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A spec that an implementation recognises as its own kind, and cannot do."""

    reason: str


class Program(Protocol):
    """All entries of a model, ready to run on opened devices."""

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries that `launch` knows."""
        ...

    @property
    def shape_policy(self) -> ShapePolicy:
        """Give the sizes that launches have to be padded to (`octavo_platforms.shapes`)."""
        ...

    def launch(self, inputs: StepInputs) -> Pending:
        """Start one entry and return at once. Launches run in the order they were made."""
        ...

    def warm_up(self, report: Report) -> None:
        """Do now what the first requests would wait for; reports stage, done and total."""
        ...

    def close(self) -> None:
        """Free weights, buffers and states. Closing twice does nothing."""
        ...
