"""Give layers that see a few tokens back a state group of their own, whose blocks can be freed.

    kv (6 layers)  ──>  kv (2 layers that see everything)   kv_512 (4 that see 512 tokens)

How far a layer sees stands in its attention node; a layer goes by the widest of its nodes in any
entry. Each group has its own block table and its own slots; what is computed stays the same.
Where every layer sees equally far, the group keeps its name. Nodes whose lengths the device makes
count as seeing everything, because the host does not know what such a request still needs.

Knows nothing of who frees blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from octavo.graph.passes.rewrite import Copy
from octavo_platforms.graph import Graph, GraphWriter, Node, StateType, Value, attrs_of
from octavo_platforms.ops import STANDARD
from octavo_platforms.ops.state import lengths_of, window_of
from octavo_platforms.program import ProgramDef, StateSpec

Place = tuple[str, int]


def with_windows(program: ProgramDef) -> ProgramDef:
    """Part every paged group by how far its layers see.

    A program without windows stays as it is.
    """
    homes: dict[Place, StateType] = {}
    states: list[StateSpec] = []
    for state in program.states:
        is_ours = state.kind == "paged" and _is_plain(program, state.name)
        parts = _parts(state, program) if is_ours else (state,)
        states += parts
        if parts != (state,):
            homes.update(_homes(state, parts, program))
    if not homes:
        return replace(program, states=tuple(states))
    entries = {name: _Moved(graph, homes).run() for name, graph in program.entries.items()}
    return replace(program, entries=entries, states=tuple(states))


def table_of(group: str) -> str:
    """Name the input that is a group's block table."""
    return f"block_table.{group}"


def _parts(state: StateSpec, program: ProgramDef) -> tuple[StateSpec, ...]:
    """Give the groups that a group becomes, the one that sees everything first."""
    seen = [_sight(program, (state.name, layer)) for layer in range(state.layers)]
    found = []
    for window in sorted(set(seen), key=lambda each: each or 0):
        layers = seen.count(window)
        if window is None:
            found.append(replace(state, layers=layers))
        else:
            name = state.name if layers == state.layers else f"{state.name}_{window}"
            found.append(replace(state, name=name, kind="window", layers=layers, window=window))
    return tuple(found)


def _homes(
    state: StateSpec, parts: tuple[StateSpec, ...], program: ProgramDef
) -> Mapping[Place, StateType]:
    """Give where each layer of a group stands now; nothing where names and numbers are kept."""
    if len(parts) == 1:
        return {}
    count = {part.window: 0 for part in parts}
    name_of = {part.window: part.name for part in parts}
    found = {}
    for layer in range(state.layers):
        window = _sight(program, (state.name, layer))
        found[state.name, layer] = StateType(name_of[window], count[window])
        count[window] += 1
    return found


def _sight(program: ProgramDef, place: Place) -> int | None:
    """Tell how far back any node sees what stands in one layer; None is everything."""
    widest = 0
    for graph in program.entries.values():
        for node in graph.nodes:
            for operand, value in enumerate(node.inputs):
                found = graph.types[value]
                op = STANDARD.get(node.op)
                if found != StateType(*place) or (op is not None and operand in op.writes):
                    continue
                attrs = attrs_of(node)
                window = window_of(attrs) if node.op == "attention" else None
                if window is None or lengths_of(attrs) == "device":
                    return None
                widest = max(widest, window)
    return widest or None


def _is_plain(program: ProgramDef, name: str) -> bool:
    """Tell whether a group's block table is read by its own nodes alone, and by those of slots."""
    for graph in program.entries.values():
        tables = {leaf.value for leaf in graph.leaves if leaf.name == table_of(name)}
        for node in graph.nodes:
            types = [graph.types[value] for value in node.inputs]
            is_own = any(isinstance(each, StateType) and each.group == name for each in types)
            if tables & set(node.inputs) and not is_own and node.op != "slots":
                return False
    return True


class _Moved:
    """One entry, its layers at their new places."""

    def __init__(self, graph: Graph, homes: Mapping[Place, StateType]) -> None:
        self._graph = graph
        self._writer = GraphWriter()
        self._home: dict[Value, StateType] = {}
        for leaf in graph.leaves_of("state"):
            found = graph.types[leaf.value]
            assert isinstance(found, StateType), "a state leaf is of a state"
            if (found.group, found.layer) in homes:
                self._home[leaf.value] = homes[found.group, found.layer]
        names = [leaf.name for leaf in graph.leaves_of("state") if leaf.value in self._home]
        self._copy = Copy(graph, self._writer, without=names)
        # What a node of a group reads in the place of what the group it came from reads.
        self._instead: dict[tuple[Value, str], Value] = {}
        self._groups = sorted({home.group for home in homes.values()} - {name for name, _ in homes})
        for leaf in graph.leaves_of("input"):
            for (base, _), home in homes.items():
                if leaf.name == table_of(base) and home.group != base:
                    made = self._writer.leaf("input", table_of(home.group), graph.types[leaf.value])
                    self._instead[leaf.value, home.group] = made

    def run(self) -> Graph:
        """Rewrite the entry."""
        for node in self._graph.nodes:
            home = next((self._home[value] for value in node.inputs if value in self._home), None)
            if home is not None:
                made = self._write(node, home.group)
                self._copy.at.update(zip(node.outputs, made, strict=True))
                continue
            self._copy.node(node)
            for group in self._groups:
                if any((value, group) in self._instead for value in node.inputs):
                    (self._instead[node.outputs[0], group],) = self._write(node, group)
        return self._copy.finish()

    def _write(self, node: Node, group: str) -> tuple[Value, ...]:
        types = [self._graph.types[value] for value in node.outputs]
        inputs = [self._value(value, group) for value in node.inputs]
        return self._writer.node(node.op, inputs, types, attrs=attrs_of(node), scope=node.scope)

    def _value(self, value: Value, group: str) -> Value:
        if value in self._home:
            home = self._home[value]
            return self._writer.leaf("state", f"{home.group}.{home.layer}", home)
        instead = self._instead.get((value, group))
        return self._copy.at[value] if instead is None else instead
