"""Graphs: one entry of a model as straight-line data.

    leaf (input | weight | buffer | state | literal) ──> value ──> node ──> value ──> output

A value is a number; its type says shape and dtype. Nodes stand in the order in which they
run, so an effect (a node that writes a state or a buffer) needs no edge of its own. There
is no control flow and no shape that depends on data: a ragged thing is a full-size value
plus counts. Two graphs with equal data have equal hashes, in every process.

Knows nothing of what the ops mean (`ops`), nor of devices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NewType

from octavo_platforms.tensor import DType, HostTensor

Value = NewType("Value", int)
Attr = int | float | str | bool | None | tuple["Attr", ...]
LeafKind = Literal["input", "weight", "buffer", "state", "literal"]


@dataclass(frozen=True, slots=True)
class Dim:
    """A size known at launch: a symbol times one integer, over another.

    Symbols of the launch face: T tokens in the step, R requests, S rows, M blocks a request,
    U seats whose sampling settings changed, Q rows to score, N seats, B blocks.
    """

    symbol: str
    times: int = 1
    over: int = 1
    plus: int = 0

    def at(self, sizes: Mapping[str, int]) -> int:
        """Give the size for given symbols.

        Raises: ValueError, where the division leaves a rest.
        """
        product = sizes[self.symbol] * self.times
        if product % self.over:
            raise ValueError(f"{self} is not whole for {self.symbol} = {sizes[self.symbol]}")
        return product // self.over + self.plus

    def __str__(self) -> str:
        """Write it as in a formula: 8T, T/4, R+1."""
        times = "" if self.times == 1 else str(self.times)
        over = "" if self.over == 1 else f"/{self.over}"
        plus = "" if self.plus == 0 else f"+{self.plus}"
        return f"{times}{self.symbol}{over}{plus}"


Size = int | Dim


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype of a value."""

    shape: tuple[Size, ...]
    dtype: DType

    def __str__(self) -> str:
        """Write it as `bfloat16[T, 576]`."""
        return f"{self.dtype}[{', '.join(str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True)
class StateType:
    """One layer of a state group: all its planes, in a layout that only kernels know."""

    group: str
    layer: int

    def __str__(self) -> str:
        """Write it as `kv[3]`."""
        return f"{self.group}[{self.layer}]"


ValueType = TensorType | StateType


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that no node makes.

    An input is new at each launch, a weight is constant, a buffer persists between launches,
    a state is one layer of a state group, a literal is part of the graph.
    """

    kind: LeafKind
    name: str
    value: Value
    data: HostTensor | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an op. `scope` says where in the model it stands."""

    op: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attrs: tuple[tuple[str, Attr], ...]
    scope: str


@dataclass(frozen=True, slots=True)
class Graph:
    """One entry: types by value, leaves, nodes in running order, named outputs."""

    types: tuple[ValueType, ...]
    leaves: tuple[Leaf, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, Value], ...]

    @property
    def hash(self) -> str:
        """Give a name that equal graphs share, in every process and on every machine."""
        digest = hashlib.sha256()
        digest.update(repr((self.types, self.nodes, self.outputs)).encode())
        for leaf in self.leaves:
            digest.update(repr((leaf.kind, leaf.name, leaf.value)).encode())
            if leaf.data is not None:
                digest.update(leaf.data.dtype.encode() + repr(leaf.data.shape).encode())
                digest.update(leaf.data.array.tobytes())
        return digest.hexdigest()

    def leaves_of(self, kind: LeafKind) -> tuple[Leaf, ...]:
        """Give the leaves of one kind, in the order they were declared."""
        return tuple(leaf for leaf in self.leaves if leaf.kind == kind)

    def tensor_type(self, value: Value) -> TensorType:
        """Give the type of a value that is a tensor.

        Raises: TypeError, for a state.
        """
        found = self.types[value]
        if isinstance(found, StateType):
            raise TypeError(f"value {value} is the state {found}, not a tensor")
        return found


class GraphWriter:
    """Grows a graph node by node, or rewrites one.

    What it offers is enough for a decomposition or a pass; `octavo.graph.builder` adds the
    words that model definitions use.
    """

    def __init__(self) -> None:
        self._types: list[ValueType] = []
        self._leaves: dict[tuple[LeafKind, str], Leaf] = {}
        self._nodes: list[Node] = []
        self._outputs: dict[str, Value] = {}

    def leaf(
        self, kind: LeafKind, name: str, leaf_type: ValueType, data: HostTensor | None = None
    ) -> Value:
        """Declare a leaf, or give the one that has this kind and name.

        Raises: ValueError, where it was declared with another type.
        """
        known = self._leaves.get((kind, name))
        if known is None:
            known = Leaf(kind, name, self._value(leaf_type), data)
            self._leaves[(kind, name)] = known
        elif self._types[known.value] != leaf_type:
            raise ValueError(
                f"{kind} '{name}' is {self._types[known.value]}, and cannot be {leaf_type} as well"
            )
        return known.value

    def node(
        self,
        op: str,
        inputs: Sequence[Value],
        output_types: Sequence[ValueType],
        *,
        attrs: Mapping[str, Attr],
        scope: str,
    ) -> tuple[Value, ...]:
        """Append a node whose output types are already known."""
        outputs = tuple(self._value(output) for output in output_types)
        self._nodes.append(Node(op, tuple(inputs), outputs, tuple(sorted(attrs.items())), scope))
        return outputs

    def type_of(self, value: Value) -> ValueType:
        """Give the type of a value."""
        return self._types[value]

    def output(self, name: str, value: Value) -> None:
        """Name a value as an output.

        Raises: ValueError, for a name that is taken.
        """
        if name in self._outputs:
            raise ValueError(f"the output '{name}' is named twice")
        self._outputs[name] = value

    def finish(self) -> Graph:
        """Freeze what was written."""
        return Graph(
            tuple(self._types),
            tuple(self._leaves.values()),
            tuple(self._nodes),
            tuple(self._outputs.items()),
        )

    def _value(self, value_type: ValueType) -> Value:
        self._types.append(value_type)
        return Value(len(self._types) - 1)


def attrs_of(node: Node) -> dict[str, Attr]:
    """Give a node's attributes by name."""
    return dict(node.attrs)
