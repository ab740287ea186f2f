"""Spread: experts shared out over ranks that each have tokens of their own.

    route ─> ids, weights ─ all_gather ─ expert_part ─ group_rows ─> own pairs, of all ranks' tokens
    h ─ all_gather ─ gather_rows ─ grouped_linear .. ─ combine ─ reduce_scatter ─> own tokens

Every rank sees all tokens and computes what its own experts make of them; the sum over ranks
is dealt back. So nothing is sent whose length depends on data, and all else stays on the rank
that has the request. The ranks launch together, with as many rows each
(`StepShape.rank_tokens`); one that has no tokens brings padding.

Goes before `merge` and `fuse`. Knows no family: what an expert is, the ops say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from octavo.graph.passes.rewrite import Copy
from octavo_platforms.graph import Attr, Graph, GraphWriter, Node, TensorType, Value, attrs_of
from octavo_platforms.inputs import RANK_TOKENS
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import Part
from octavo_platforms.tensor import host

GROUP = "ep"
_EVERYBODY = np.array([0, np.iinfo(np.int32).max], np.int32)


def spread(program: ProgramDef, *, ranks: int, group: str = GROUP) -> ProgramDef:
    """Give the view of one of `ranks` ranks, each with its own requests and some of the experts.

    Experts that do not fall into equal parts are filled up with ones that nobody chooses.
    """
    names = {name for graph in program.entries.values() for name in _experts_of(graph)}
    if ranks == 1 or not names:
        return program
    weights = {
        each.name: _own(each, ranks, group) if each.name in names else each
        for each in program.weights
    }
    entries = {
        name: _Entry(graph, weights, names, {"group": group, "ranks": ranks}).run()
        for name, graph in program.entries.items()
    }
    return replace(program, entries=entries, weights=tuple(weights.values()))


def _experts_of(graph: Graph) -> set[str]:
    name_of = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
    counts = {node.outputs[2] for node in graph.nodes if node.op == "group_rows"}
    return {
        name_of[node.inputs[1]]
        for node in graph.nodes
        if node.op == "grouped_linear" and node.inputs[2] in counts
    }


def _own(weight: WeightDef, ranks: int, group: str) -> WeightDef:
    num_own = -(-weight.shape[0] // ranks)
    recipe = Part(weight.recipe, 0, ranks, ranks, group)
    return replace(weight, shape=(num_own, *weight.shape[1:]), recipe=recipe)


class _Entry:
    """One entry on its way into the view of one rank."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, WeightDef],
        cut: set[str],
        group: Mapping[str, Attr],
    ) -> None:
        self._graph = graph
        self._group = group
        self._copy = Copy(graph, GraphWriter(), without=cut)
        for leaf in graph.leaves_of("weight"):
            if leaf.name in cut:
                own = weights[leaf.name]
                self._copy.at[leaf.value] = self._copy.writer.leaf(
                    "weight", own.name, TensorType(own.shape, own.dtype)
                )
        self._combined = {
            node.inputs[1]: node.inputs[2] for node in graph.nodes if node.op == "combine"
        }
        self._of_all: set[Value] = set()
        self._own_weights: dict[Value, Value] = {}

    def run(self) -> Graph:
        """Rewrite node by node."""
        for node in self._graph.nodes:
            if node.op == "group_rows":
                self._group_own(node)
            elif not self._of_all.intersection(node.inputs):
                self._copy.node(node)
            elif node.op == "gather_rows":
                self._gather(node)
            elif node.op == "combine":
                self._deal(node)
            else:
                made = self._emit(node.scope, node.op, *node.inputs, **attrs_of(node))
                self._set(node, made)
        return self._copy.finish()

    def _group_own(self, node: Node) -> None:
        """Group the pairs of all ranks' tokens with the own experts."""
        ids, places = node.inputs[0], node.outputs[1]
        ranks, num_experts = self._group["ranks"], attrs_of(node)["num_experts"]
        assert isinstance(ranks, int), "the pass was told a number"
        assert isinstance(num_experts, int), "its shape rule has seen it"
        num_own = -(-num_experts // ranks)
        emit = self._copy.emit(node.scope)
        tokens = self._copy.writer.leaf("input", RANK_TOKENS, TensorType((ranks,), "int32"))
        every = [
            emit("all_gather", self._copy.at[value], axis=0, **self._group)[0]
            for value in (ids, self._combined[places])
        ]
        own = emit("expert_part", *every, tokens, num_experts=num_own, **self._group)
        everybody = host(_EVERYBODY)
        starts = self._copy.writer.leaf(
            "literal", "everybody", TensorType(everybody.shape, everybody.dtype), everybody
        )
        self._own_weights[places] = own[1]
        self._set(node, emit("group_rows", own[0], starts, num_experts=num_own))

    def _gather(self, node: Node) -> None:
        """Pick rows of all ranks' tokens."""
        rows, wanted = (self._copy.at[value] for value in node.inputs)
        emit = self._copy.emit(node.scope)
        (every,) = emit("all_gather", rows, axis=0, **self._group)
        self._set(node, emit("gather_rows", every, wanted))

    def _deal(self, node: Node) -> None:
        """Sum over the own experts, then over ranks, and keep the own tokens."""
        made, places, _ = node.inputs
        emit = self._copy.emit(node.scope)
        own = self._own_weights[places]
        (found,) = emit("combine", self._copy.at[made], self._copy.at[places], own)
        (dealt,) = emit("reduce_scatter", found, axis=0, **self._group)
        self._copy.at[node.outputs[0]] = dealt

    def _emit(self, scope: str, op: str, *inputs: Value, **attrs: Attr) -> tuple[Value, ...]:
        return self._copy.emit(scope)(op, *(self._copy.at[value] for value in inputs), **attrs)

    def _set(self, node: Node, made: tuple[Value, ...]) -> None:
        """Say what a node's outputs are now: things of all ranks' tokens."""
        self._of_all.update(node.outputs)
        self._copy.at.update(zip(node.outputs, made, strict=True))
