"""What an op is: a name, a shape rule, its effects, and for a compound its decomposition.

A platform that provides the primitives runs every model. A compound (`Op.decompose` is set)
is an offer: whoever has a faster kernel for it claims it, all others receive its primitives.

Knows no single op; the families beside this file do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from octavo_platforms.graph import (
    Attr,
    Dim,
    GraphWriter,
    Size,
    StateType,
    TensorType,
    Value,
    ValueType,
)
from octavo_platforms.tensor import DTYPES, DType, is_float

Hook = Literal[
    "bind_op",
    "bind_linear",
    "bind_attention",
    "bind_kv_write",
    "bind_kv_read",
    "bind_collective",
    "bind_kv_copy",
    "bind_state_mixer",
    "bind_latent_attention",
    "bind_latent_rows",
    "bind_cross_attention",
]
Attrs = Mapping[str, Attr]


class Emit(Protocol):
    """Append an op to a graph; its output types follow from the op's shape rule."""

    def __call__(self, op: str, *inputs: Value, **attrs: Attr) -> tuple[Value, ...]:
        """Give the op's outputs."""
        ...

    def type_of(self, value: Value) -> ValueType:
        """Give the type of a value."""
        ...


Infer = Callable[[Sequence[ValueType], Attrs], tuple[ValueType, ...]]
Decompose = Callable[[Emit, Sequence[Value], Attrs], tuple[Value, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One op of the catalogue.

    `writes` are the positions of the inputs that a run of it changes. `hook` is the question
    that asks a platform for a kernel.
    """

    name: str
    infer: Infer
    hook: Hook = "bind_op"
    writes: tuple[int, ...] = ()
    decompose: Decompose | None = None


class Catalogue(Mapping[str, Op]):
    """The ops that a graph may use, by name. Never changes; `with_ops` makes a larger one."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._op_of: dict[str, Op] = {}
        for op in ops:
            if op.name in self._op_of:
                raise ValueError(f"two ops are named '{op.name}'")
            self._op_of[op.name] = op

    def __getitem__(self, name: str) -> Op:
        """Give an op by name."""
        if name not in self._op_of:
            raise KeyError(f"no op '{name}' in the catalogue; known: {', '.join(self._op_of)}")
        return self._op_of[name]

    def __iter__(self) -> Iterator[str]:
        """Walk the names."""
        return iter(self._op_of)

    def __len__(self) -> int:
        """Count the ops."""
        return len(self._op_of)

    def with_ops(self, *ops: Op) -> Catalogue:
        """Make a catalogue with more ops, such as namespaced private ones."""
        return Catalogue([*self._op_of.values(), *ops])


class Emitter:
    """The `Emit` that writes into a `GraphWriter`, at a scope."""

    def __init__(self, writer: GraphWriter, catalogue: Catalogue, scope: str) -> None:
        self._writer = writer
        self._catalogue = catalogue
        self._scope = scope

    def __call__(self, op: str, *inputs: Value, **attrs: Attr) -> tuple[Value, ...]:
        """Append an op. Raises: ShapeError, where the inputs do not fit the op."""
        types = [self._writer.type_of(value) for value in inputs]
        try:
            outputs = self._catalogue[op].infer(types, attrs)
        except ShapeError as error:
            raise ShapeError(f"{op} at '{self._scope}': {error}") from error
        return self._writer.node(op, inputs, outputs, attrs=attrs, scope=self._scope)

    def type_of(self, value: Value) -> ValueType:
        """Give the type of a value."""
        return self._writer.type_of(value)


class ShapeError(ValueError):
    """Inputs or attributes that an op cannot take."""


def tensor(types: Sequence[ValueType], index: int) -> TensorType:
    """Give the type of an input that has to be a tensor.

    Raises: ShapeError.
    """
    if index >= len(types):
        raise ShapeError(f"input {index} is missing; there are {len(types)}")
    found = types[index]
    if isinstance(found, StateType):
        raise ShapeError(f"input {index} is the state {found}, expected a tensor")
    return found


def state(types: Sequence[ValueType], index: int) -> StateType:
    """Give the type of an input that has to be a state. Raises: ShapeError."""
    if index >= len(types) or not isinstance(types[index], StateType):
        raise ShapeError(f"input {index} has to be a state")
    found = types[index]
    assert isinstance(found, StateType)
    return found


def fixed(size: Size) -> int:
    """Give a size that has to be an integer. Raises: ShapeError."""
    if isinstance(size, Dim):
        raise ShapeError(f"the size {size} has to be an integer")
    return size


def multiple(size: Size, factor: int) -> Size:
    """Give a size so many times."""
    if isinstance(size, Dim):
        return Dim(size.symbol, size.times * factor, size.over, size.plus * factor)
    return size * factor


def expect(condition: bool, message: str) -> None:
    """Refuse what does not fit. Raises: ShapeError."""
    if not condition:
        raise ShapeError(message)


def integer(attrs: Attrs, name: str) -> int:
    """Give an integer attribute. Raises: ShapeError."""
    found = attrs.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ShapeError(f"the attribute '{name}' has to be an integer, not {found!r}")
    return found


def real(attrs: Attrs, name: str) -> float:
    """Give a numeric attribute. Raises: ShapeError."""
    found = attrs.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise ShapeError(f"the attribute '{name}' has to be a number, not {found!r}")
    return float(found)


def float_dtype(attrs: Attrs, name: str) -> DType:
    """Give an attribute that names a floating dtype. Raises: ShapeError."""
    for dtype in DTYPES:
        if is_float(dtype) and attrs.get(name) == dtype:
            return dtype
    raise ShapeError(f"the attribute '{name}' has to be a floating dtype, not {attrs.get(name)!r}")
