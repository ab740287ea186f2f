"""The interpreter: a bound program, run node by node in the order it was written.

Every real value is float64. A launch is done when `launch` returns; nothing is compiled,
reused or freed early. Knows nothing of kernels but how they are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo_conformance.oracle.values import held, narrow, widen
from octavo_platforms.binding import BoundEntry
from octavo_platforms.graph import Dim, Leaf, Size, TensorType, Value
from octavo_platforms.inputs import (
    DeviceRef,
    Pending,
    StepInputs,
    StepResult,
    StepShape,
    arrays_of,
    made_tokens,
)
from octavo_platforms.platform import Kernel, Report
from octavo_platforms.program import ProgramDef, StateSpec
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, HostTensor


@dataclass(frozen=True, slots=True)
class OracleRef:
    """An output, kept unrounded for a later launch."""

    name: str
    values: Array


@dataclass(frozen=True, slots=True)
class Done:
    """A launch that has run: its outputs, and the dtypes they were declared with."""

    values: Mapping[str, Array]
    types: Mapping[str, TensorType]
    shape: StepShape

    def ref(self, output: str) -> DeviceRef:
        """Name an output."""
        return OracleRef(output, self.values[output])

    def ready(self) -> bool:
        """Tell that it is there."""
        return True

    def read(self) -> StepResult:
        """Give the outputs, each rounded once to its dtype."""
        outputs = {
            name: narrow(self._without_padding(name), self.types[name].dtype)
            for name in self.values
        }
        return made_tokens(outputs)

    def _without_padding(self, name: str) -> Array:
        sizes = {
            "T": self.shape.num_tokens, "R": self.shape.num_requests, "S": self.shape.num_rows,
            "Q": self.shape.num_scores,
        }  # fmt: skip
        ends = (
            size.at(sizes) if isinstance(size, Dim) and size.symbol in sizes else None
            for size in self.types[name].shape
        )
        return self.values[name][tuple(slice(end) for end in ends)]


class OracleProgram:
    """All entries of a program, with weights, buffers and states as arrays."""

    def __init__(
        self, spec: CompileSpec, *, is_rounded: bool = False, policy: ShapePolicy = EXACT
    ) -> None:
        self._program = spec.program
        self._entries: Mapping[str, BoundEntry] = spec.binding.entries
        self._is_rounded = is_rounded
        self._policy = policy
        self._weights = {name: _widened(tensor) for name, tensor in spec.weights.items()}
        self._buffers = {
            buffer.name: np.zeros(_extents(buffer.shape, spec.program), held(buffer.dtype))
            for buffer in spec.program.buffers
        }
        self._states = {
            (state.name, layer): _planes(state, spec)
            for state in spec.program.states
            for layer in range(state.layers)
        }

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries."""
        return frozenset(self._entries)

    @property
    def shape_policy(self) -> ShapePolicy:
        """Give the sizes it was made to ask for; it needs none."""
        return self._policy

    def launch(self, inputs: StepInputs) -> Pending:
        """Run one entry to its end."""
        bound = self._entries[inputs.entry]
        graph = bound.graph
        values: dict[Value, object] = {
            leaf.value: self._leaf(leaf, bound, inputs) for leaf in graph.leaves
        }
        prepared: dict[int, object] = {}
        for node, choice in zip(graph.nodes, bound.choices, strict=True):
            given = [values[value] for value in node.inputs]
            made = _run(choice.to_call(), given, inputs, prepared)
            outputs = made if isinstance(made, tuple) else () if made is None else (made,)
            for value, output in zip(node.outputs, outputs, strict=True):
                values[value] = self._rounded(output, graph.tensor_type(value))
        types = {name: graph.tensor_type(value) for name, value in graph.outputs}
        made = {name: _array(values[value]) for name, value in graph.outputs}
        return Done(made, types, inputs.shape)

    def warm_up(self, report: Report) -> None:
        """Do nothing: nothing is waited for."""
        report("nothing to warm up", 1, 1)

    def close(self) -> None:
        """Let go of everything."""
        self._weights.clear()
        self._buffers.clear()
        self._states.clear()

    def _leaf(self, leaf: Leaf, bound: BoundEntry, inputs: StepInputs) -> object:
        found = bound.graph.types[leaf.value]
        if not isinstance(found, TensorType):
            return self._states[(found.group, found.layer)]
        match leaf.kind:
            case "weight":
                return self._weights[leaf.name]
            case "buffer":
                return self._buffers[leaf.name]
            case "literal":
                assert leaf.data is not None
                return widen(leaf.data)
        given = arrays_of(inputs)[leaf.name]
        if isinstance(given, OracleRef):
            return given.values
        return widen(HostTensor(_array(given), found.dtype))

    def _rounded(self, output: object, declared: TensorType) -> object:
        if not self._is_rounded:
            return output
        return widen(narrow(_array(output), declared.dtype))


def _run(
    kernel: Kernel, given: list[object], inputs: StepInputs, prepared: dict[int, object]
) -> object:
    if kernel.prepare is None:
        return kernel.run(*given)
    if id(kernel) not in prepared:
        prepared[id(kernel)] = kernel.prepare(inputs)
    return kernel.run(*given, prepared=prepared[id(kernel)])


def _planes(state: StateSpec, spec: CompileSpec) -> tuple[Array, ...]:
    layout = spec.binding.layouts[state.name]
    num_blocks = spec.num_blocks[state.name]
    return tuple(
        np.zeros(
            layout.shape(plane, num_blocks=num_blocks, block_size=state.block_size),
            held(plane.dtype),
        )
        for plane in state.planes
    )


def _extents(shape: tuple[Size, ...], program: ProgramDef) -> tuple[int, ...]:
    sizes = {symbol.name: symbol.maximum for symbol in program.symbols}
    return tuple(size if isinstance(size, int) else size.at(sizes) for size in shape)


def _widened(tensor: object) -> object:
    return widen(tensor) if isinstance(tensor, HostTensor) else tensor


def _array(values: object) -> Array:
    assert isinstance(values, np.ndarray)
    return values
