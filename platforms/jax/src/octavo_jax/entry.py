"""An entry as one pure function, to be traced and compiled.

    (weights, states, buffers, inputs) -> (outputs, states, buffers)

Nodes run in the order of the graph. One that writes gives new values for what it writes, and
later nodes read those. Knows nothing of shapes, devices or launches.
"""

from __future__ import annotations

from collections.abc import Mapping

from jax import Array

from octavo_jax.arrays import JAX_OF
from octavo_platforms.binding import BoundEntry, Choice
from octavo_platforms.errors import CannotStart
from octavo_platforms.graph import Node, StateType, TensorType, Value

Planes = tuple[Array, ...]
StateKey = tuple[str, int]
Named = dict[str, Array]


class Entry:
    """One bound entry, and the names of what it reads.

    Raises: CannotStart, for a kernel that wants to prepare on the host.
    """

    def __init__(self, bound: BoundEntry) -> None:
        self._bound = bound
        graph = bound.graph
        for node, choice in zip(graph.nodes, bound.choices, strict=True):
            if choice.to_call().prepare is not None:
                raise CannotStart(
                    f"the kernel '{choice.kernel.name}' at '{node.scope}' prepares each step on "
                    "the host, but XLA compiles a whole entry; derive it inside the kernel's `run`"
                )
        leaves = graph.leaves_of("input")
        self.inputs: Mapping[str, TensorType] = {
            leaf.name: graph.tensor_type(leaf.value) for leaf in leaves
        }
        self.outputs: Mapping[str, TensorType] = {
            name: graph.tensor_type(value) for name, value in graph.outputs
        }
        self.weights = tuple(leaf.name for leaf in graph.leaves_of("weight"))
        self.buffers = tuple(leaf.name for leaf in graph.leaves_of("buffer"))
        touched = [graph.types[leaf.value] for leaf in graph.leaves_of("state")]
        self.states: tuple[StateKey, ...] = tuple(
            (each.group, each.layer) for each in touched if isinstance(each, StateType)
        )

    def run(
        self, weights: Named, states: tuple[Planes, ...], buffers: Named, inputs: Named
    ) -> tuple[Named, tuple[Planes, ...], Named]:
        """Run the entry: outputs by name, and the states and buffers as they are afterwards."""
        graph = self._bound.graph
        values: dict[Value, object] = {}
        planes = iter(states)
        for leaf in graph.leaves:
            match leaf.kind:
                case "weight":
                    values[leaf.value] = weights[leaf.name]
                case "buffer":
                    values[leaf.value] = buffers[leaf.name]
                case "input":
                    values[leaf.value] = inputs[leaf.name]
                case "state":
                    values[leaf.value] = next(planes)
                case "literal":
                    assert leaf.data is not None
                    values[leaf.value] = leaf.data.array.view(JAX_OF[leaf.data.dtype])
        for node, choice in zip(graph.nodes, self._bound.choices, strict=True):
            self._step(node, choice, values)
        found = {leaf.name: _array(values[leaf.value]) for leaf in graph.leaves_of("buffer")}
        changed = tuple(_planes(values[leaf.value]) for leaf in graph.leaves_of("state"))
        return {name: _array(values[value]) for name, value in graph.outputs}, changed, found

    def _step(self, node: Node, choice: Choice, values: dict[Value, object]) -> None:
        """Run one node. Raises: TypeError, for a kernel whose results are not as declared."""
        made = choice.to_call().run(*(values[value] for value in node.inputs))
        results = made if isinstance(made, tuple) else () if made is None else (made,)
        written = [node.inputs[position] for position in choice.writes]
        if len(results) != len(node.outputs) + len(written):
            raise TypeError(
                f"the kernel '{choice.kernel.name}' gave {len(results)} results, but {node.op} has "
                f"{len(node.outputs)} outputs, and {len(written)} inputs that it gives anew"
            )
        values.update(zip((*node.outputs, *written), results, strict=True))
        for value in node.outputs:
            declared, found = self._bound.graph.tensor_type(value), _array(values[value])
            if found.dtype != JAX_OF[declared.dtype]:
                raise TypeError(
                    f"the kernel '{choice.kernel.name}' gave {found.dtype}, declared is {declared}"
                )


def _array(value: object) -> Array:
    assert isinstance(value, Array)
    return value


def _planes(value: object) -> Planes:
    assert isinstance(value, tuple)
    return value
