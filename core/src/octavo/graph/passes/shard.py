"""Shard: the local view of one rank, of a program that several ranks run together.

    column      some features or heads of a layer            nothing to say to the others
    row         the layer that reads these                    all_reduce of what it makes
    vocabulary  some rows of the table, some logits           all_reduce, all_gather
    states      the heads of the own layers; with fewer heads than ranks, neighbours have the same

The view is equal on all ranks: a recipe says "the own one of so many parts", and which that is
comes when weights are placed (`recipes.Part`, `place(rank_of=)`). Goes before `merge` and
`fuse`, so that what they join is joined within a rank.

Experts are cut like other layers, each rank having a part of every one. To give each rank
some experts instead is another pass, which leaves those nodes to it.

Knows no family and no platform; what is cut, `cuts` finds.
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import OperatorError
from octavo.graph.passes.cuts import BIAS_OF, SHARED_HEADS, TIES, Cuts, Use
from octavo.graph.passes.rewrite import Copy
from octavo_platforms.graph import Attr, Graph, GraphWriter, Node, TensorType, Value, attrs_of
from octavo_platforms.ops.op import fixed
from octavo_platforms.program import Plane, ProgramDef, StateSpec, WeightDef
from octavo_platforms.recipes import Cut, Join, Once, Part, Recipe

GROUP = "tp"
HEADS_AXIS = "K"
SHOWN_RANKS = 64


def sharded(program: ProgramDef, *, ranks: int, group: str = GROUP) -> ProgramDef:
    """Give the view of one of `ranks` ranks, which talk in a group of that name.

    Raises: OperatorError, where heads or features cannot be shared out evenly, with the numbers.
    """
    if ranks == 1:
        return program
    return _Shard(program, ranks, group).run()


class _Shard:
    def __init__(self, program: ProgramDef, ranks: int, group: str) -> None:
        self.ranks = ranks
        self.group = group
        self.cuts = Cuts(program)
        self.weights = {weight.name: self._weight(weight) for weight in program.weights}
        self._program = program

    def run(self) -> ProgramDef:
        """Rewrite everything."""
        entries = {
            name: _Entry(self, name, graph).run() for name, graph in self._program.entries.items()
        }
        states = tuple(self._state(state) for state in self._program.states)
        weights = tuple(self.weights.values())
        return replace(self._program, entries=entries, weights=weights, states=states)

    def kv_heads(self, heads: int) -> int:
        """Give how many of a state's heads a rank has. Raises: OperatorError."""
        return heads // self._parts(heads, "KV heads", is_shared=True)

    def _state(self, state: StateSpec) -> StateSpec:
        if not self.cuts.is_split_state(state.name):
            return state
        return replace(state, planes=tuple(self._plane(plane) for plane in state.planes))

    def _plane(self, plane: Plane) -> Plane:
        shape = tuple(
            self.kv_heads(size) if axis == HEADS_AXIS else size
            for axis, size in zip(plane.axes, plane.shape, strict=True)
        )
        return replace(plane, shape=shape)

    def _weight(self, weight: WeightDef) -> WeightDef:
        role = self.cuts.role(weight.name)
        if role is None:
            return weight
        uses = self.cuts.uses[weight.name]
        layer = uses[0].node.op
        is_bias = uses[0].operand == BIAS_OF.get(layer)
        if role == "row" and is_bias:
            return replace(weight, recipe=Once(weight.recipe, self.group))
        if role == "row":
            axis = len(weight.shape) - 1
            parts = self._parts(weight.shape[axis], f"features that '{weight.name}' reads")
            return self._cut(weight, axis, parts)
        axis = 1 if layer == "grouped_linear" else 0
        if role == "vocabulary":
            return self._cut(weight, axis, self.ranks)
        return self._column(weight, axis, uses)

    def _column(self, weight: WeightDef, axis: int, uses: list[Use]) -> WeightDef:
        """Cut by features, or by heads where they become some."""
        rows = weight.shape[axis]
        sections = 1
        found = {self._heads(use) for use in uses}
        if len(found) > 1:
            raise OperatorError(f"'{weight.name}' is read as heads in several ways: {found}")
        heads, is_shared = found.pop()
        for use in uses:
            view = self.cuts.views[use.entry]
            reads = view.reads.get(use.node.outputs[0], [])
            sections = max([sections, *(view.sections(node) for node, _ in reads)])
        if heads is None:
            what, count = f"features that '{weight.name}' makes", rows // sections
        else:
            what, count = f"heads of '{weight.name}'", heads
        return self._cut(weight, axis, self._parts(count, what, is_shared=is_shared), sections)

    def _heads(self, use: Use) -> tuple[int | None, bool]:
        """Count the heads that a layer makes, if it makes some; tell whether ranks may share."""
        view = self.cuts.views[use.entry]
        if use.node.op in TIES:
            return fixed(view.graph.tensor_type(use.node.inputs[0]).shape[1]), False
        reads = list(view.readers(use.node.outputs[0]))
        is_shared = any((node.op, operand) in SHARED_HEADS for node, operand in reads)
        for node, _ in reads:
            if node.op == "heads":
                return fixed(view.graph.tensor_type(node.outputs[0]).shape[1]), is_shared
        return None, is_shared

    def _parts(self, count: int, what: str, *, is_shared: bool = False) -> int:
        """Give into how many parts so many things fall."""
        if count % self.ranks == 0:
            return self.ranks
        if is_shared and self.ranks % count == 0:
            return count
        known = ", ".join(str(n) for n in range(1, SHOWN_RANKS + 1) if count % n == 0)
        raise OperatorError(
            f"the {count} {what} cannot be shared out over {self.ranks} ranks; choose a number of "
            f"ranks that divides {count}: {known}"
        )

    def _cut(self, weight: WeightDef, axis: int, parts: int, sections: int = 1) -> WeightDef:
        size = weight.shape[axis] // sections
        own = -(-size // parts)
        shape = (*weight.shape[:axis], own * sections, *weight.shape[axis + 1 :])
        pieces = tuple(
            self._part(Cut(weight.recipe, axis, start, start + size), axis, parts)
            for start in range(0, size * sections, size)
        )
        whole = self._part(weight.recipe, axis, parts)
        return replace(weight, shape=shape, recipe=whole if sections == 1 else Join(pieces, axis))

    def _part(self, recipe: Recipe, axis: int, parts: int) -> Recipe:
        return Part(recipe, axis, parts, self.ranks, self.group)


class _Entry:
    """One entry on its way into the local view."""

    def __init__(self, shard: _Shard, name: str, graph: Graph) -> None:
        self._shard = shard
        self._name = name
        self._cuts = shard.cuts
        self._view = shard.cuts.views[name]
        self._group: dict[str, Attr] = {"group": shard.group, "ranks": shard.ranks}
        self._partial: set[Value] = set()
        names = self._view.weights.values()
        self._cut = {name for name in names if self._cuts.role(name) is not None}
        self._copy = Copy(graph, GraphWriter(), without=self._cut)
        for leaf in graph.leaves_of("weight"):
            if leaf.name in self._cut:
                weight = shard.weights[leaf.name]
                local = TensorType(weight.shape, weight.dtype)
                self._copy.at[leaf.value] = self._copy.writer.leaf("weight", leaf.name, local)

    def run(self) -> Graph:
        """Rewrite node by node; an entry that reads nothing that is cut stays as it is."""
        if not self._cut:
            return self._copy.graph
        for node in self._copy.graph.nodes:
            self._write(node)
        return self._copy.finish()

    def _write(self, node: Node) -> None:
        roles = {
            self._cuts.role(self._view.weights[value])
            for value in node.inputs
            if value in self._view.weights
        }
        if node.op == "embedding" and "vocabulary" in roles:
            self._embed(node)
        elif "vocabulary" in roles:
            self._gather(node)
        elif "row" in roles:
            self._emit(node)
            if self._is_summed_later(node):
                self._partial.update(node.outputs)
            else:
                self._sum(node)
        elif any(self._cuts.is_split(self._name, v) for v in (*node.inputs, *node.outputs)):
            self._emit(node)
        else:
            self._copy.node(node)
            if node.op == "combine" and node.inputs[0] in self._partial:
                self._sum(node)

    def _emit(self, node: Node) -> None:
        """Write a node for local shapes."""
        emit, attrs = self._copy.emit(node.scope), attrs_of(node)
        if "num_kv_heads" in attrs:
            heads = attrs["num_kv_heads"]
            assert isinstance(heads, int), "its shape rule has seen it"
            attrs["num_kv_heads"] = self._shard.kv_heads(heads)
        if node.op == "split" and (sections := self._view.sections(node)) > 1:
            rows = emit.type_of(self._copy.at[node.inputs[0]])
            assert isinstance(rows, TensorType), "its shape rule has seen it"
            attrs["sizes"] = (fixed(rows.shape[1]) // sections,) * sections
        made = emit(node.op, *(self._copy.at[value] for value in node.inputs), **attrs)
        self._copy.at.update(zip(node.outputs, made, strict=True))

    def _sum(self, node: Node) -> None:
        (made,) = node.outputs
        emit = self._copy.emit(node.scope)
        (self._copy.at[made],) = emit("all_reduce", self._copy.at[made], **self._group)

    def _embed(self, node: Node) -> None:
        table, ids = (self._copy.at[value] for value in node.inputs)
        emit = self._copy.emit(node.scope)
        (self._copy.at[node.outputs[0]],) = emit("embedding_part", table, ids, **self._group)
        self._sum(node)

    def _gather(self, node: Node) -> None:
        """Write the head: the own logits, everybody's, without what filled the last part up."""
        self._emit(node)
        (made,) = node.outputs
        whole = self._copy.graph.tensor_type(made)
        emit, axis = self._copy.emit(node.scope), len(whole.shape) - 1
        (found,) = emit("all_gather", self._copy.at[made], axis=axis, **self._group)
        local = emit.type_of(found)
        assert isinstance(local, TensorType), "logits are a tensor"
        filled = fixed(local.shape[axis]) - fixed(whole.shape[axis])
        if filled:
            found, _ = emit("split", found, sizes=(fixed(whole.shape[axis]), filled))
        self._copy.at[made] = found

    def _is_summed_later(self, node: Node) -> bool:
        """Tell whether rows of experts are combined first, which leaves less to sum."""
        reads = self._view.reads.get(node.outputs[0], [])
        return node.op == "grouped_linear" and all(
            (reader.op, operand) == ("combine", 0) for reader, operand in reads
        )
