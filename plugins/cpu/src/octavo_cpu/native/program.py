"""The program: entries handed to the library once, each launched by one call.

A launch has run when `launch` returns. Its outputs are arrays of its own, so that they may be
inputs of later launches and stay as they were read.

Knows nothing of ops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from octavo_cpu.native.library import CountsStruct
from octavo_cpu.native.lower import Lowered, lower
from octavo_cpu.native.memory import NativeContext, NativeTensor, tensor_of
from octavo_platforms.graph import Dim, Graph, Leaf, StateType, TensorType, Value
from octavo_platforms.inputs import (
    DeviceRef,
    Pending,
    StepInputs,
    StepResult,
    arrays_of,
    made_tokens,
)
from octavo_platforms.platform import DeviceTensor, Memory, Report
from octavo_platforms.program import StateSpec
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, HostTensor, storage


@dataclass(frozen=True, slots=True)
class NativeRef:
    """An output, as the input of a later launch."""

    name: str
    array: Array


@dataclass(frozen=True, slots=True)
class Done:
    """A launch that has run."""

    outputs: Mapping[str, HostTensor]

    def ref(self, output: str) -> DeviceRef:
        """Name an output."""
        return NativeRef(output, self.outputs[output].array)

    def ready(self) -> bool:
        """Tell that it is there."""
        return True

    def read(self) -> StepResult:
        """Give the outputs."""
        return made_tokens(dict(self.outputs))


class NativeProgram:
    """All entries of a program in the library. Raises: CannotBind, CannotStart, MemoryError."""

    def __init__(self, spec: CompileSpec, context: NativeContext, memory: Memory) -> None:
        self._context = context
        self._maxima = {symbol.name: symbol.maximum for symbol in spec.program.symbols}
        self._kept = _Kept(spec, memory, self._maxima)
        lowered = {
            name: lower(
                bound,
                self._kept.constants(bound.graph),
                spec.program.symbols,
                context.library.number_of,
            )
            for name, bound in spec.binding.entries.items()
        }
        most = max((entry.scratch_bytes for entry in lowered.values()), default=0)
        self._scratch = self._kept.own(memory.alloc((most,), "uint8"))
        self._entries = {name: self._handed_over(entry) for name, entry in lowered.items()}

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries."""
        return frozenset(self._entries)

    @property
    def shape_policy(self) -> ShapePolicy:
        """Ask for no padding: every size runs as it is."""
        return EXACT

    def launch(self, inputs: StepInputs) -> Pending:
        """Run one entry to its end, in one call.

        Raises: ValueError, for inputs of other shapes or dtypes than the entry declares;
            RuntimeError, in the library's words, for an index out of range.
        """
        if not self._entries or not self._context.is_open:
            raise RuntimeError("the program or its device was closed; load the model again")
        handle, entry = self._entries[inputs.entry]
        arrays = arrays_of(inputs)
        given = [_array(arrays[name], declared, name) for name, declared in entry.inputs]
        sizes = _sizes(given, entry.inputs, self._maxima)
        outputs = {
            name: HostTensor(
                np.empty(_extents(declared, sizes), storage(declared.dtype)), declared.dtype
            )
            for name, declared in entry.outputs
        }
        self._context.library.launch(
            handle,
            list(sizes.values()),
            [_address(array) for array in given],
            [_address(output.array) for output in outputs.values()],
        )
        return Done(outputs)

    def warm_up(self, report: Report) -> None:
        """Do nothing: everything was made when the program was compiled."""
        report("nothing to warm up", 1, 1)

    def close(self) -> None:
        """Free entries, weights, buffers and states. Closing twice does nothing."""
        for handle, _ in self._entries.values():
            self._context.library.free_entry(handle)
        self._entries = {}
        self._kept.release()

    def _handed_over(self, entry: Lowered) -> tuple[int, Lowered]:
        counts = CountsStruct(
            len(entry.values),
            len(entry.instructions),
            len(self._maxima),
            len(entry.inputs),
            len(entry.outputs),
        )
        handle = self._context.library.new_entry(
            self._context.pool, self._scratch.address, counts, entry.values, entry.instructions
        )
        return handle, entry


class _Kept:
    """What is the same at each launch: weights as placed; buffers, states and literals."""

    def __init__(self, spec: CompileSpec, memory: Memory, maxima: Mapping[str, int]) -> None:
        self._memory = memory
        self._own: list[NativeTensor] = []
        self._weights = {name: tensor_of(tensor) for name, tensor in spec.weights.items()}
        self._buffers = {
            buffer.name: self.own(
                memory.alloc(_extents(TensorType(buffer.shape, buffer.dtype), maxima), buffer.dtype)
            )
            for buffer in spec.program.buffers
        }
        self._states = {
            (state.name, layer): self._planes(state, spec)
            for state in spec.program.states
            for layer in range(state.layers)
        }

    def own(self, tensor: DeviceTensor) -> NativeTensor:
        """Keep a tensor until the program is closed."""
        self._own.append(tensor_of(tensor))
        return self._own[-1]

    def constants(self, graph: Graph) -> dict[Value, tuple[NativeTensor, ...]]:
        """Give the leaves of a graph that are no inputs."""
        return {
            leaf.value: self._leaf(leaf, graph) for leaf in graph.leaves if leaf.kind != "input"
        }

    def release(self) -> None:
        """Give all memory back."""
        for tensor in (*self._own, *self._weights.values()):
            tensor.release()

    def _leaf(self, leaf: Leaf, graph: Graph) -> tuple[NativeTensor, ...]:
        found = graph.types[leaf.value]
        if isinstance(found, StateType):
            return self._states[(found.group, found.layer)]
        if leaf.kind == "weight":
            return (self._weights[leaf.name],)
        if leaf.kind == "buffer":
            return (self._buffers[leaf.name],)
        assert leaf.data is not None, f"the literal '{leaf.name}' has no data"
        return (self.own(self._memory.to_device(leaf.data)),)

    def _planes(self, state: StateSpec, spec: CompileSpec) -> tuple[NativeTensor, ...]:
        layout = spec.binding.layouts[state.name]
        num_blocks = spec.num_blocks[state.name]
        return tuple(
            self.own(
                self._memory.alloc(
                    layout.shape(plane, num_blocks=num_blocks, block_size=state.block_size),
                    plane.dtype,
                )
            )
            for plane in state.planes
        )


def _array(found: Array | DeviceRef, declared: TensorType, name: str) -> Array:
    array = found.array if isinstance(found, NativeRef) else found
    if not isinstance(array, np.ndarray) or array.dtype != storage(declared.dtype):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"the input '{name}' is {kind}, declared is {declared}")
    return np.ascontiguousarray(array)


def _sizes(
    given: Sequence[Array], declared: Sequence[tuple[str, TensorType]], maxima: Mapping[str, int]
) -> dict[str, int]:
    """Find each symbol's size from the inputs' shapes; one that no input has is its largest."""
    found: dict[str, int] = {}
    for array, (name, kind) in zip(given, declared, strict=True):
        if len(array.shape) != len(kind.shape):
            raise ValueError(f"the input '{name}' is {list(array.shape)}, declared is {kind}")
        for extent, size in zip(array.shape, kind.shape, strict=True):
            if isinstance(size, Dim):
                is_right = found.setdefault(size.symbol, _solved(size, extent)) <= maxima[
                    size.symbol
                ] and extent == size.at(found)
            else:
                is_right = extent == size
            if not is_right:
                raise ValueError(
                    f"the input '{name}' is {list(array.shape)}, declared is {kind} with "
                    f"{found} so far, at most {dict(maxima)}"
                )
    return {symbol: found.get(symbol, most) for symbol, most in maxima.items()}


def _solved(size: Dim, extent: int) -> int:
    return (extent - size.plus) * size.over // size.times


def _extents(declared: TensorType, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size.at(sizes) if isinstance(size, Dim) else size for size in declared.shape)


def _address(array: Array) -> int:
    return int(array.ctypes.data)
