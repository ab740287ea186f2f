"""Binding: ask for a kernel for every node, from shapes alone.

For each node the implementations of its op's hook are asked from the front. The first kernel
wins; refusals are kept and shown. A compound that nobody claims is replaced by its
decomposition, and its pieces are asked for in turn. Kernels that touch a state offer
layouts; a group gets the first layout, in the order its attention kernels prefer, for which
every node of the group has a kernel. Nothing falls back in silence, and never to another
device.

Knows nothing of weights' values; `place` brings those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from octavo_platforms.asking import Asker, Question, nobody, question_of, shared_weights
from octavo_platforms.binding import Binding, BoundEntry, Choice
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Graph, GraphWriter, Node, StateType, Value, ValueType, attrs_of
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Catalogue, Emitter
from octavo_platforms.platform import DeviceContext, StateKernel, StateLayout
from octavo_platforms.program import ProgramDef


def bind(
    program: ProgramDef,
    platform: Platform,
    context: DeviceContext,
    *,
    catalogue: Catalogue = STANDARD,
) -> Binding:
    """Find a kernel for every node of every entry.

    Raises: CannotBind, where nobody provides an op, with every refusal.
    """
    asker = Asker(platform, context)
    expanded = {
        name: _Expander(program, asker, catalogue).run(graph)
        for name, graph in program.entries.items()
    }
    layouts = {state.name: _agree(state.name, expanded.values(), asker) for state in program.states}
    return Binding(
        {name: _settle(entry, asker, layouts, catalogue) for name, entry in expanded.items()},
        layouts,
    )


@dataclass(frozen=True, slots=True)
class _Expanded:
    """An entry whose unclaimed compounds are expanded; one question and origin a node."""

    graph: Graph
    questions: tuple[Question, ...]
    origins: tuple[_Origin, ...]


@dataclass(frozen=True, slots=True)
class _Origin:
    """The compound that a node is a piece of, and why nobody claimed that whole."""

    compound: str | None = None
    refusals: tuple[str, ...] = ()


class _Expander:
    """Rewrites one entry so that each node has at least one kernel."""

    def __init__(self, program: ProgramDef, asker: Asker, catalogue: Catalogue) -> None:
        self._program = program
        self._asker = asker
        self._catalogue = catalogue
        self._shared_names = shared_weights(program)
        self._writer = GraphWriter()
        self._questions: list[Question] = []
        self._origins: list[_Origin] = []
        self._shared: set[Value] = set()

    def run(self, graph: Graph) -> _Expanded:
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
        return _Expanded(self._writer.finish(), tuple(self._questions), tuple(self._origins))

    def _write(
        self,
        node: Node,
        types: Sequence[ValueType],
        names: dict[Value, Value],
        origin: _Origin,
    ) -> tuple[Value, ...]:
        op = self._catalogue[node.op]
        inputs = [names[value] for value in node.inputs]
        shared = len(inputs) > 1 and inputs[1] in self._shared
        question = question_of(node, op.hook, types, self._program, shared=shared)
        offers = self._asker.offers(question)
        if offers.kernels:
            self._questions.append(question)
            self._origins.append(origin)
            outputs = [types[value] for value in node.outputs]
            return self._writer.node(
                node.op, inputs, outputs, attrs=attrs_of(node), scope=node.scope
            )
        if op.decompose is None:
            raise CannotBind(nobody(self._asker.platform.info.name, node, types, offers.refusals))
        piece = GraphWriter()
        given = [piece.leaf("input", f"{i}", types[v]) for i, v in enumerate(node.inputs)]
        made = op.decompose(Emitter(piece, self._catalogue, node.scope), given, attrs_of(node))
        small = piece.finish()
        inner = dict(zip(given, inputs, strict=True))
        inside = _Origin(origin.compound or node.op, (*origin.refusals, *offers.refusals))
        for each in small.nodes:
            outputs_of_piece = self._write(each, small.types, inner, inside)
            inner.update(zip(each.outputs, outputs_of_piece, strict=True))
        return tuple(inner[value] for value in made)


def _agree(group: str, entries: Iterable[_Expanded], asker: Asker) -> StateLayout:
    """Choose a group's layout: the first that every node on the group has a kernel for.

    Raises: CannotBind, where there is none.
    """
    questions = [
        question
        for entry in entries
        for node, question in zip(entry.graph.nodes, entry.questions, strict=True)
        if any(_is_state(entry.graph.types[value], group) for value in node.inputs)
    ]
    questions.sort(key=lambda question: question.hook != "bind_attention")
    accepted = [_layouts(asker, question) for question in questions]
    for layout in accepted[0] if accepted else ():
        if all(layout in layouts for layouts in accepted):
            return layout
    offers = "; ".join(
        f"{question.hook}: {', '.join(each.name for each in layouts) or 'none'}"
        for question, layouts in zip(questions, accepted, strict=True)
    )
    raise CannotBind(f"no layout of the state '{group}' suits all its kernels ({offers})")


def _layouts(asker: Asker, question: Question) -> list[StateLayout]:
    return [
        layout
        for _, offer in asker.offers(question).kernels
        if isinstance(offer, StateKernel)
        for layout in offer.layouts
    ]


def _is_state(value_type: ValueType, group: str) -> bool:
    return isinstance(value_type, StateType) and value_type.group == group


def _settle(
    entry: _Expanded, asker: Asker, layouts: dict[str, StateLayout], catalogue: Catalogue
) -> BoundEntry:
    choices = []
    for node, question, origin in zip(
        entry.graph.nodes, entry.questions, entry.origins, strict=True
    ):
        groups = [entry.graph.types[value] for value in node.inputs]
        touched = [layouts[each.group] for each in groups if isinstance(each, StateType)]
        provider, kernel = asker.settled(question, touched[0] if touched else None)
        refusals = (*origin.refusals, *asker.offers(question).refusals)
        writes = catalogue[node.op].writes
        choices.append(Choice(kernel, provider, refusals, origin.compound, writes))
    return BoundEntry(entry.graph, tuple(choices))
