"""Stages: a program cut across its layers, into programs that run one after the other.

    stage 0   tokens ─ embedding ─ layers 0, 1 ─ send ┐
    stage 1                                           └ recv ─ layers 2, 3 ─ head ─ sample

The cut is made where a scope begins. What is made before it and read after it is sent on, but
what follows from a launch's inputs alone (positions, slots, tables) each stage makes again.
Each stage keeps its own layers of every state, counted from 0, and its own weights. Entries
that the cut does not meet belong to the last stage, which has the tokens.

Cut before other passes: they join what stands on both sides. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from octavo_platforms.graph import (
    Attr,
    Graph,
    GraphWriter,
    Leaf,
    StateType,
    TensorType,
    Value,
    ValueType,
    attrs_of,
)
from octavo_platforms.ops import STANDARD, Emitter
from octavo_platforms.ops.op import fixed
from octavo_platforms.program import ProgramDef

GROUP = "stages"
STEP = "step"
_LAYERS = Mapping[tuple[str, int], int]


def staged(program: ProgramDef, starts: Sequence[str], stage: int) -> ProgramDef:
    """Give one of the stages that begin where the scopes `starts` do, the first of them aside.

    The last keeps its entries' names. An earlier one has one entry, `step`, which gives nothing
    back and begins whichever entry of the last is launched: up to the last stage, entries that
    are cut have to be the same.

    Raises: ValueError, for scopes that no entry has, for entries that differ before the last
        stage, and for a cut through values that are not rows of the step's tokens.
    """
    met = {name: graph for name, graph in program.entries.items() if _meets(graph, starts)}
    if not met:
        raise ValueError(f"no entry of '{program.name}' has the scopes {list(starts)}")
    last = len(starts)
    parts = {name: _Cut(graph, starts).part(stage) for name, graph in met.items()}
    if stage == last:
        return _with_own(program, {**program.entries, **parts})
    if len({part.hash for part in parts.values()}) > 1:
        raise ValueError(f"the entries {sorted(parts)} differ before their last stage")
    return _with_own(program, {STEP: next(iter(parts.values()))})


def _meets(graph: Graph, starts: Sequence[str]) -> bool:
    found = [any(_is_in(node.scope, scope) for node in graph.nodes) for scope in starts]
    return all(found)


def _is_in(scope: str, start: str) -> bool:
    return scope == start or scope.startswith(f"{start}.")


class _Cut:
    """A graph, the positions at which its stages begin, and what crosses them."""

    def __init__(self, graph: Graph, starts: Sequence[str]) -> None:
        self._graph = graph
        first = [
            next(at for at, node in enumerate(graph.nodes) if _is_in(node.scope, start))
            for start in starts
        ]
        self._bounds = [0, *first, len(graph.nodes)]
        if self._bounds != sorted(self._bounds):
            raise ValueError(f"the scopes {list(starts)} do not begin one after the other")
        self._made_at = {value: at for at, node in enumerate(graph.nodes) for value in node.outputs}
        self._leaf_of = {leaf.value: leaf for leaf in graph.leaves}
        self._is_plain = self._plain()

    def part(self, stage: int) -> Graph:
        """Write one stage."""
        begin, end = self._bounds[stage : stage + 2]
        last = len(self._bounds) - 2
        writer = _Writer(self._graph, self._leaf_of, ranks=last + 1)
        if stage:
            writer.receive(self._crossing(begin), source=stage - 1)
        for at in range(end):
            if at >= begin or self._is_again(at, end, begin):
                writer.node(at)
        if stage < last:
            writer.send(self._crossing(end), to=stage + 1)
        else:
            writer.outputs()
        return writer.finish()

    def _is_again(self, at: int, end: int, begin: int) -> bool:
        """Tell whether a node of an earlier stage is made again, because this one needs it."""
        outputs = self._graph.nodes[at].outputs
        return all(self._is_plain[value] for value in outputs) and any(
            value in self._needed(begin, end) for value in outputs
        )

    def _needed(self, begin: int, end: int) -> set[Value]:
        """Give what nodes from `begin` to `end` read, and what that is plainly made of."""
        found = {value for node in self._graph.nodes[begin:end] for value in node.inputs}
        if end == len(self._graph.nodes):
            found.update(value for _, value in self._graph.outputs)
        for node in reversed(self._graph.nodes[:begin]):
            if found.intersection(node.outputs) and all(
                self._is_plain[value] for value in node.outputs
            ):
                found.update(node.inputs)
        return found

    def _crossing(self, cut: int) -> list[Value]:
        """Give the values that have to be sent over a cut, in the order they were made."""
        needed = self._needed(cut, len(self._graph.nodes))
        return sorted(
            value
            for value in needed
            if self._made_at.get(value, cut) < cut and not self._is_plain[value]
        )

    def _plain(self) -> dict[Value, bool]:
        """Tell of each value whether it follows from inputs and literals alone."""
        found = {leaf.value: leaf.kind in ("input", "literal") for leaf in self._graph.leaves}
        for node in self._graph.nodes:
            is_plain = all(found[value] for value in node.inputs)
            found.update((value, is_plain) for value in node.outputs)
        return found


class _Writer:
    """One stage on its way; leaves are declared when they are first read."""

    def __init__(self, graph: Graph, leaf_of: Mapping[Value, Leaf], *, ranks: int) -> None:
        self._graph = graph
        self._leaf_of = leaf_of
        self._ranks = ranks
        self._writer = GraphWriter()
        self._at: dict[Value, Value] = {}

    def node(self, at: int) -> None:
        """Copy a node."""
        node = self._graph.nodes[at]
        inputs = [self._value(value) for value in node.inputs]
        types = [self._graph.types[value] for value in node.outputs]
        made = self._writer.node(node.op, inputs, types, attrs=attrs_of(node), scope=node.scope)
        self._at.update(zip(node.outputs, made, strict=True))

    def receive(self, values: Sequence[Value], *, source: int) -> None:
        """Take values from the stage before."""
        for value in values:
            kind = self._rows(value)
            (leaf,) = (leaf for leaf in self._graph.leaves if leaf.name == "token_ids")
            (self._at[value],) = self._emit(
                "recv",
                self._value(leaf.value),
                source=source,
                width=fixed(kind.shape[1]),
                dtype=kind.dtype,
            )

    def send(self, values: Sequence[Value], *, to: int) -> None:
        """Give values to the stage after."""
        for value in values:
            self._rows(value)
            self._emit("send", self._value(value), to=to)

    def outputs(self) -> None:
        """Name the outputs as they were."""
        for name, value in self._graph.outputs:
            self._writer.output(name, self._value(value))

    def finish(self) -> Graph:
        """Freeze the stage."""
        return self._writer.finish()

    def _emit(self, op: str, *inputs: Value, **attrs: Attr) -> tuple[Value, ...]:
        emit = Emitter(self._writer, STANDARD, GROUP)
        return emit(op, *inputs, group=GROUP, ranks=self._ranks, **attrs)

    def _value(self, value: Value) -> Value:
        if value not in self._at:
            leaf = self._leaf_of[value]
            self._at[value] = self._writer.leaf(
                leaf.kind, leaf.name, self._graph.types[value], leaf.data
            )
        return self._at[value]

    def _rows(self, value: Value) -> TensorType:
        """Give the type of a value that is sent: a row of fixed width for each token."""
        kind = self._graph.types[value]
        (tokens,) = (leaf for leaf in self._graph.leaves if leaf.name == "token_ids")
        count = self._graph.tensor_type(tokens.value).shape[0]
        if isinstance(kind, TensorType) and len(kind.shape) == 2 and kind.shape[0] == count:
            return kind
        raise ValueError(f"{kind} would have to be sent between stages; only rows of tokens are")


def _with_own(program: ProgramDef, entries: Mapping[str, Graph]) -> ProgramDef:
    """Leave weights, buffers and layers out that no entry reads, and count the layers anew."""
    graphs = entries.values()
    names = {(leaf.kind, leaf.name) for graph in graphs for leaf in graph.leaves}
    layer_of = _layers(graphs)
    counts = {group: 0 for group, _ in layer_of}
    for group, _ in layer_of:
        counts[group] += 1
    return replace(
        program,
        entries={name: _renumbered(graph, layer_of) for name, graph in entries.items()},
        weights=tuple(each for each in program.weights if ("weight", each.name) in names),
        buffers=tuple(each for each in program.buffers if ("buffer", each.name) in names),
        states=tuple(
            replace(state, layers=counts[state.name])
            for state in program.states
            if state.name in counts
        ),
    )


def _layers(graphs: Iterable[Graph]) -> _LAYERS:
    """Give each layer of a state that is read its number among those."""
    read: dict[str, set[int]] = {}
    for graph in graphs:
        for leaf in graph.leaves_of("state"):
            kind = graph.types[leaf.value]
            assert isinstance(kind, StateType), "a state leaf is a state"
            read.setdefault(kind.group, set()).add(kind.layer)
    return {
        (group, layer): number
        for group, layers in read.items()
        for number, layer in enumerate(sorted(layers))
    }


def _renumbered(graph: Graph, layer_of: _LAYERS) -> Graph:
    def moved(kind: ValueType) -> ValueType:
        if isinstance(kind, StateType):
            return StateType(kind.group, layer_of[kind.group, kind.layer])
        return kind

    types = tuple(moved(kind) for kind in graph.types)
    leaves = tuple(
        replace(leaf, name=f"{kind.group}.{kind.layer}") if isinstance(kind, StateType) else leaf
        for leaf in graph.leaves
        for kind in (types[leaf.value],)
    )
    return replace(graph, types=types, leaves=leaves)
