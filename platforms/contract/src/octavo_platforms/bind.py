"""Binding: ask for a kernel for every node, from shapes alone.

For each node the implementations of its op's hook are asked from the front. The first kernel
wins; refusals are kept and shown. A compound that nobody claims is replaced by its
decomposition, and its pieces are asked for in turn. Kernels that touch a state offer
layouts (`layouts`); one that wants another than was agreed on is passed over, a compound then
goes in pieces, and that is kept and shown too. Nothing falls back in silence, and never to
another device.

Knows nothing of weights' values; `place` brings those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from octavo_platforms.asking import (
    ALONE,
    Asker,
    Communicators,
    nobody,
    question_of,
    shared_weights,
)
from octavo_platforms.binding import Binding, BoundEntry, Choice
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Graph, GraphWriter, Node, Value, ValueType, attrs_of
from octavo_platforms.layouts import agreed
from octavo_platforms.loaded import Platform
from octavo_platforms.pieces import groups_of, op_of, pieces_of
from octavo_platforms.platform import DeviceContext, StateLayout
from octavo_platforms.program import ProgramDef


def bind(
    program: ProgramDef,
    platform: Platform,
    context: DeviceContext,
    *,
    communicators: Communicators = ALONE,
) -> Binding:
    """Find a kernel for every node of every entry; `communicators` are its groups, by name.

    An optional entry with a node that has none is left out.

    Raises: CannotBind, where nobody provides an op, with every refusal; where the platform does
        not register a private op; where kernels on one state share no layout.
    """
    asker = Asker(platform, context, communicators)
    layouts = {state.name: agreed(state.name, program, asker) for state in program.states}
    entries: dict[str, BoundEntry] = {}
    left_out: dict[str, str] = {}
    for name, graph in program.entries.items():
        try:
            entries[name] = _Expander(program, asker, layouts).run(graph)
        except CannotBind as error:
            if name not in program.optional:
                raise
            left_out[name] = str(error)
    return Binding(entries, layouts, left_out)


@dataclass(frozen=True, slots=True)
class _Origin:
    """The compound that a node is a piece of, and why nobody claimed that whole."""

    compound: str | None = None
    refusals: tuple[str, ...] = ()


class _Expander:
    """Rewrites one entry so that each node has a kernel."""

    def __init__(
        self, program: ProgramDef, asker: Asker, layouts: Mapping[str, StateLayout]
    ) -> None:
        self._program = program
        self._asker = asker
        self._layouts = layouts
        self._shared_names = shared_weights(program)
        self._writer = GraphWriter()
        self._choices: list[Choice] = []
        self._shared: set[Value] = set()

    def run(self, graph: Graph) -> BoundEntry:
        """Give the rewritten entry. Raises: CannotBind."""
        names: dict[Value, Value] = {}
        for leaf in graph.leaves:
            value = self._writer.leaf(leaf.kind, leaf.name, graph.types[leaf.value], leaf.data)
            names[leaf.value] = value
            if leaf.kind == "weight" and leaf.name in self._shared_names:
                self._shared.add(value)
        for node in graph.nodes:
            outputs = self._write(node, graph.types, names, _Origin())
            names.update(zip(node.outputs, outputs, strict=True))
        for name, value in graph.outputs:
            self._writer.output(name, names[value])
        return BoundEntry(self._writer.finish(), tuple(self._choices))

    def _write(
        self,
        node: Node,
        types: Sequence[ValueType],
        names: dict[Value, Value],
        origin: _Origin,
    ) -> tuple[Value, ...]:
        platform = self._asker.platform
        op = op_of(node, platform)
        inputs = [names[value] for value in node.inputs]
        shared = len(inputs) > 1 and inputs[1] in self._shared
        question = question_of(node, op.hook, types, self._program, shared=shared)
        touched = [self._layouts[group] for group in groups_of(node, types)]
        settled = self._asker.settle(question, touched[0] if touched else None)
        refusals = (*origin.refusals, *settled.refusals)
        if settled.kernel is not None:
            self._choices.append(
                Choice(settled.kernel, settled.provider, refusals, origin.compound, op.writes)
            )
            outputs = [types[value] for value in node.outputs]
            return self._writer.node(
                node.op, inputs, outputs, attrs=attrs_of(node), scope=node.scope
            )
        pieces = pieces_of(node, types, platform)
        if pieces is None:
            raise CannotBind(nobody(platform.info.name, node, types, settled.refusals))
        inner = dict(zip(pieces.given, inputs, strict=True))
        inside = _Origin(origin.compound or node.op, refusals)
        for each in pieces.graph.nodes:
            outputs_of_piece = self._write(each, pieces.graph.types, inner, inside)
            inner.update(zip(each.outputs, outputs_of_piece, strict=True))
        return tuple(inner[value] for value in pieces.made)
