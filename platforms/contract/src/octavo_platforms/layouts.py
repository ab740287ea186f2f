"""Layouts: the one in which each state group is kept, agreed on by the kernels that touch it.

A group gets the first layout, those of its attention kernels first, that orders its axes and
in which every node on it can run, whole or in pieces. So a fork that brings attention alone
attends in a layout of its own wherever what stands behind it can write that one, and where
not, gives way.

Knows nothing of the nodes that touch no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from octavo_platforms.asking import Asker, Question, fits, nobody, question_of
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Node, ValueType
from octavo_platforms.pieces import Pieces, groups_of, op_of, pieces_of
from octavo_platforms.platform import Kernel, StateLayout
from octavo_platforms.program import ProgramDef

ATTENDING = frozenset({"bind_attention", "bind_latent_attention", "bind_cross_attention"})


def agreed(group: str, program: ProgramDef, asker: Asker) -> StateLayout:
    """Choose a group's layout.

    Raises: CannotBind, where there is none, and for a node that nobody can run in any.
    """
    return _Group(group, program, asker).agree()


class _Group:
    def __init__(self, name: str, program: ProgramDef, asker: Asker) -> None:
        self._name = name
        self._program = program
        self._asker = asker

    def agree(self) -> StateLayout:
        places = [
            (node, graph.types)
            for graph in self._program.entries.values()
            for node in graph.nodes
            if self._name in groups_of(node, graph.types)
        ]
        asked = dict.fromkeys(each for place in places for each in self._questions(*place))
        questions = sorted(asked, key=lambda question: question.hook not in ATTENDING)
        state = self._program.state(self._name)
        for layout in (layout for question in questions for layout in self._layouts(question)):
            if layout.orders(state) and all(self._runs(*place, layout) for place in places):
                return layout
        offers = "; ".join(
            f"{question.hook}: {', '.join(each.name for each in self._layouts(question)) or 'none'}"
            for question in questions
        )
        raise CannotBind(
            f"no layout of the state '{self._name}', whose axes are {', '.join(state.axes)}, suits "
            f"all its kernels ({offers})"
        )

    def _questions(self, node: Node, types: Sequence[ValueType]) -> Iterator[Question]:
        """Walk what a node asks, and its pieces, as far as anybody has a kernel."""
        question, pieces = self._asked(node, types)
        offers = self._asker.offers(question)
        if offers.kernels:
            yield question
        elif pieces is None:
            raise CannotBind(nobody(self._asker.platform.info.name, node, types, offers.refusals))
        for each, inner in self._touching(pieces):
            yield from self._questions(each, inner)

    def _runs(self, node: Node, types: Sequence[ValueType], layout: StateLayout) -> bool:
        question, pieces = self._asked(node, types)
        if any(fits(offer, layout) for _, offer in self._asker.offers(question).kernels):
            return True
        return pieces is not None and all(
            self._runs(each, inner, layout) for each, inner in self._touching(pieces)
        )

    def _asked(self, node: Node, types: Sequence[ValueType]) -> tuple[Question, Pieces | None]:
        platform = self._asker.platform
        hook = op_of(node, platform).hook
        question = question_of(node, hook, types, self._program, shared=False)
        return question, pieces_of(node, types, platform)

    def _touching(self, pieces: Pieces | None) -> Iterator[tuple[Node, Sequence[ValueType]]]:
        if pieces is not None:
            for node in pieces.graph.nodes:
                if self._name in groups_of(node, pieces.graph.types):
                    yield node, pieces.graph.types

    def _layouts(self, question: Question) -> Iterator[StateLayout]:
        for _, offer in self._asker.offers(question).kernels:
            if not isinstance(offer, Kernel):
                yield from offer.layouts
