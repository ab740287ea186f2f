"""A bound program, run node by node; a launch is done when `launch` returns.

Knows nothing of what the kernels do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo_platforms.binding import BoundEntry
from octavo_platforms.graph import Leaf, Size, StateType, Value
from octavo_platforms.inputs import (
    DeviceRef,
    Pending,
    StepInputs,
    StepResult,
    arrays_of,
    made_tokens,
)
from octavo_platforms.platform import Report
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, HostTensor, storage

from .memory import held_by


@dataclass(frozen=True)
class Output:
    """An output that an earlier launch made."""

    name: str
    array: Array


@dataclass(frozen=True)
class Done:
    """A launch that has run."""

    outputs: Mapping[str, HostTensor]

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch."""
        return Output(output, self.outputs[output].array)

    def ready(self) -> bool:
        """Tell that it is there."""
        return True

    def read(self) -> StepResult:
        """Give the outputs, `tokens` apart from the others."""
        return made_tokens(dict(self.outputs))


class WalkedProgram:
    """All entries of a program, with the weights, buffers and states that they share."""

    def __init__(self, spec: CompileSpec) -> None:
        self._entries: Mapping[str, BoundEntry] = spec.binding.entries
        self._weights = {name: held_by(tensor).array for name, tensor in spec.weights.items()}
        sizes = {symbol.name: symbol.maximum for symbol in spec.program.symbols}
        self._buffers = {
            each.name: np.zeros([_at(size, sizes) for size in each.shape], storage(each.dtype))
            for each in spec.program.buffers
        }
        self._states = {
            (state.name, layer): tuple(
                np.zeros(
                    spec.binding.layouts[state.name].shape(
                        plane,
                        num_blocks=spec.num_blocks[state.name],
                        block_size=state.block_size,
                    ),
                    storage(plane.dtype),
                )
                for plane in state.planes
            )
            for state in spec.program.states
            for layer in range(state.layers)
        }

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries."""
        return frozenset(self._entries)

    @property
    def shape_policy(self) -> ShapePolicy:
        """Ask for no padding."""
        return EXACT

    def launch(self, inputs: StepInputs) -> Pending:
        """Run one entry to its end. Its outputs alias nothing that the caller may reuse."""
        bound = self._entries[inputs.entry]
        graph = bound.graph
        values: dict[Value, object] = {
            leaf.value: self._leaf(leaf, bound, inputs) for leaf in graph.leaves
        }
        for node, choice in zip(graph.nodes, bound.choices, strict=True):
            made = choice.to_call().run(*(values[value] for value in node.inputs))
            outputs = made if isinstance(made, tuple) else () if made is None else (made,)
            values.update(zip(node.outputs, outputs, strict=True))
        return Done(
            {
                name: HostTensor(np.array(values[value]), graph.tensor_type(value).dtype)
                for name, value in graph.outputs
            }
        )

    def warm_up(self, report: Report) -> None:
        """Do nothing: nothing is waited for."""
        report("nothing to warm up", 1, 1)

    def close(self) -> None:
        """Let go of everything."""
        self._weights, self._buffers, self._states = {}, {}, {}

    def _leaf(self, leaf: Leaf, bound: BoundEntry, inputs: StepInputs) -> object:
        match leaf.kind:
            case "weight":
                return self._weights[leaf.name]
            case "buffer":
                return self._buffers[leaf.name]
            case "state":
                state = bound.graph.types[leaf.value]
                assert isinstance(state, StateType)
                return self._states[state.group, state.layer]
            case "literal":
                assert leaf.data is not None
                return leaf.data.array
        given = arrays_of(inputs)[leaf.name]
        return given.array if isinstance(given, Output) else given


def _at(size: Size, sizes: Mapping[str, int]) -> int:
    return size if isinstance(size, int) else size.at(sizes)
