"""Copying a graph with changes: what every pass shares.

Knows no pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from octavo_platforms.graph import Graph, GraphWriter, Leaf, Node, Value, attrs_of
from octavo_platforms.ops import STANDARD, Catalogue, Emitter
from octavo_platforms.program import ProgramDef


class Copy:
    """A graph on its way into a writer; `at` says what a value of the old graph is called now."""

    def __init__(
        self,
        graph: Graph,
        writer: GraphWriter,
        *,
        catalogue: Catalogue = STANDARD,
        given: Mapping[str, Value] | None = None,
        without: Iterable[str] = (),
    ) -> None:
        self.graph = graph
        self.writer = writer
        self.at: dict[Value, Value] = {}
        self._catalogue = catalogue
        dropped = frozenset(without)
        for leaf in graph.leaves:
            if leaf.name not in dropped:
                self.at[leaf.value] = self._leaf(leaf, given or {})

    def node(self, node: Node) -> None:
        """Copy a node as it is."""
        inputs = [self.at[value] for value in node.inputs]
        types = [self.graph.types[value] for value in node.outputs]
        outputs = self.writer.node(node.op, inputs, types, attrs=attrs_of(node), scope=node.scope)
        self.at.update(zip(node.outputs, outputs, strict=True))

    def emit(self, scope: str) -> Emitter:
        """Write new nodes at a scope."""
        return Emitter(self.writer, self._catalogue, scope)

    def finish(self) -> Graph:
        """Name the outputs as they were and freeze."""
        for name, value in self.graph.outputs:
            self.writer.output(name, self.at[value])
        return self.writer.finish()

    def _leaf(self, leaf: Leaf, given: Mapping[str, Value]) -> Value:
        if leaf.kind == "input" and leaf.name in given:
            return given[leaf.name]
        return self.writer.leaf(leaf.kind, leaf.name, self.graph.types[leaf.value], leaf.data)


def users_of(graph: Graph) -> dict[Value, list[int]]:
    """Give, for each value, the positions of the nodes that read it, once for each read."""
    users: dict[Value, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        for value in node.inputs:
            users.setdefault(value, []).append(position)
    for _, value in graph.outputs:
        users.setdefault(value, []).append(len(graph.nodes))
    return users


def each_graph(program: ProgramDef, rewrite: Callable[[Graph], Graph]) -> ProgramDef:
    """Rewrite every entry on its own."""
    entries = {name: rewrite(graph) for name, graph in program.entries.items()}
    return replace(program, entries=entries)
