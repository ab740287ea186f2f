"""The words in which a model is written: ops by name, weights by their place in the model.

    program = ProgramBuilder("llama", dtype="bfloat16", symbols=...)
    g = program.entry("forward")
    with g.scope("model.layers.0.self_attn"):
        q = g.linear(x, "q_proj", 576)        # the weight model.layers.0.self_attn.q_proj.weight

Entries of one program share weights, buffers and states by name. Knows no model, no file
and no device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from octavo_platforms.graph import (
    Attr,
    Graph,
    GraphWriter,
    Size,
    StateType,
    TensorType,
    Value,
    ValueType,
)
from octavo_platforms.ops import STANDARD, Catalogue, Emitter
from octavo_platforms.ops.op import fixed
from octavo_platforms.program import BufferDef, ProgramDef, StateSpec, Symbol, WeightDef
from octavo_platforms.recipes import Recipe, Take
from octavo_platforms.tensor import DType, HostTensor


class ProgramBuilder:
    """Collects the entries of a program and what they share."""

    def __init__(
        self, name: str, *, dtype: DType, symbols: Sequence[Symbol], catalogue: Catalogue = STANDARD
    ) -> None:
        self.dtype = dtype
        self.catalogue = catalogue
        self._name = name
        self._symbols = tuple(symbols)
        self._entries: dict[str, GraphBuilder] = {}
        self._weights: dict[str, WeightDef] = {}
        self._buffers: dict[str, BufferDef] = {}
        self._states: dict[str, StateSpec] = {}
        self._optional: set[str] = set()

    def entry(self, name: str, *, is_optional: bool = False) -> GraphBuilder:
        """Start an entry, which a platform may be able to leave out."""
        assert name not in self._entries, f"the entry '{name}' is written twice"
        if is_optional:
            self._optional.add(name)
        self._entries[name] = GraphBuilder(self)
        return self._entries[name]

    def state(self, state: StateSpec) -> StateSpec:
        """Declare a state group."""
        return self._states.setdefault(state.name, state)

    def weight(self, weight: WeightDef) -> WeightDef:
        """Declare a weight, or check it against what another entry declared."""
        known = self._weights.setdefault(weight.name, weight)
        assert known == weight, f"the weight '{weight.name}' is declared in two ways"
        return known

    def buffer(self, buffer: BufferDef) -> BufferDef:
        """Declare a buffer, or check it against what another entry declared."""
        known = self._buffers.setdefault(buffer.name, buffer)
        assert known == buffer, f"the buffer '{buffer.name}' is declared in two ways"
        return known

    def finish(self) -> ProgramDef:
        """Freeze the program."""
        return ProgramDef(
            self._name,
            {name: graph.finish() for name, graph in self._entries.items()},
            tuple(self._weights.values()),
            tuple(self._buffers.values()),
            tuple(self._states.values()),
            self._symbols,
            frozenset(self._optional),
        )


class GraphBuilder:
    """Writes one entry."""

    def __init__(self, program: ProgramBuilder) -> None:
        self._program = program
        self._writer = GraphWriter()
        self._scopes: list[str] = []

    # leaves

    @property
    def dtype(self) -> DType:
        """Give the program's dtype."""
        return self._program.dtype

    def input(self, name: str, shape: Sequence[Size], dtype: DType) -> Value:
        """Declare what is new at each launch."""
        return self._writer.leaf("input", name, TensorType(tuple(shape), dtype))

    def weight(
        self,
        name: str,
        shape: Sequence[int],
        recipe: Recipe | None = None,
        *,
        dtype: DType | None = None,
    ) -> Value:
        """Declare a constant by its full name; without a recipe it is the tensor of that name.

        Dtypes: the program's, where nothing else is said.
        """
        made = Take(name) if recipe is None else recipe
        definition = WeightDef(name, tuple(shape), dtype or self._program.dtype, made)
        self._program.weight(definition)
        return self._writer.leaf("weight", name, TensorType(definition.shape, definition.dtype))

    def buffer(self, name: str, shape: Sequence[Size], dtype: DType) -> Value:
        """Declare what persists between launches and starts as zeros."""
        self._program.buffer(BufferDef(name, tuple(shape), dtype))
        return self._writer.leaf("buffer", name, TensorType(tuple(shape), dtype))

    def state(self, state: StateSpec, layer: int) -> Value:
        """Declare one layer of a state group."""
        self._program.state(state)
        return self._writer.leaf("state", f"{state.name}.{layer}", StateType(state.name, layer))

    def literal(self, name: str, data: HostTensor) -> Value:
        """Declare data that is part of the graph."""
        return self._writer.leaf("literal", name, TensorType(data.shape, data.dtype), data)

    def output(self, name: str, value: Value) -> None:
        """Name a value as an output."""
        self._writer.output(name, value)

    # places

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Stand at a place in the model, inside the present one."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def place(self, name: str = "") -> str:
        """Give the full name of something at the present place."""
        return ".".join([*self._scopes, name] if name else self._scopes)

    # ops

    def op(self, name: str, *inputs: Value, **attrs: Attr) -> tuple[Value, ...]:
        """Append any op of the catalogue at the present place."""
        return Emitter(self._writer, self._program.catalogue, self.place())(name, *inputs, **attrs)

    def one(self, name: str, *inputs: Value, **attrs: Attr) -> Value:
        """Append an op that has one output."""
        (made,) = self.op(name, *inputs, **attrs)
        return made

    def linear(self, x: Value, name: str, width: int, *, bias: bool = False) -> Value:
        """Apply the linear layer `name`: [..., I] becomes [..., width]."""
        with self.scope(name):
            weight = self.weight(self.place("weight"), (width, self.width(x)))
            if not bias:
                return self.one("linear", x, weight)
            return self.one("linear", x, weight, self.weight(self.place("bias"), (width,)))

    def rms_norm(self, x: Value, name: str, *, eps: float) -> Value:
        """Apply the norm `name`."""
        with self.scope(name):
            weight = self.weight(self.place("weight"), (self.width(x),))
            return self.one("rms_norm", x, weight, eps=eps)

    def width(self, x: Value) -> int:
        """Give the size of a value's last axis."""
        return fixed(self.type_of(x).shape[-1])

    def type_of(self, value: Value) -> TensorType:
        """Give the type of a tensor value."""
        found: ValueType = self._writer.type_of(value)
        assert isinstance(found, TensorType), f"{found} is no tensor"
        return found

    def finish(self) -> Graph:
        """Freeze the entry."""
        return self._writer.finish()
