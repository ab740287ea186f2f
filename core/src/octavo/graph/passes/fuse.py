"""Fuse chains of small ops into the compounds that platforms may have kernels for.

    add, rms_norm                      -> add_rms_norm
    split in halves, silu, mul         -> silu_gate
    rotary of q, rotary of k, kv_write -> rotary_kv_write

A platform that claims no compound receives the same primitives back.

Knows no model and no platform.
"""

from __future__ import annotations

from collections.abc import Callable

from octavo.graph.passes.rewrite import Copy, each_graph, users_of
from octavo_platforms.graph import Graph, GraphWriter, Node, Value, attrs_of
from octavo_platforms.program import ProgramDef

Write = Callable[[Copy], None]


def fused(program: ProgramDef) -> ProgramDef:
    """Fuse every chain that is found, in every entry."""
    return each_graph(program, _fused)


def _fused(graph: Graph) -> Graph:
    chains = _Chains(graph)
    copy = Copy(graph, GraphWriter())
    for position, node in enumerate(graph.nodes):
        if position in chains.writes:
            chains.writes[position](copy)
        elif position not in chains.gone:
            copy.node(node)
    return copy.finish()


class _Chains:
    """The chains of one graph: what to write at a position, and which positions are gone."""

    def __init__(self, graph: Graph) -> None:
        self.writes: dict[int, Write] = {}
        self.gone: set[int] = set()
        self._nodes = graph.nodes
        self._users = users_of(graph)
        self._maker = {
            value: position for position, node in enumerate(graph.nodes) for value in node.outputs
        }
        for position, node in enumerate(graph.nodes):
            match node.op:
                case "rms_norm":
                    self._add_rms_norm(position, node)
                case "mul":
                    self._silu_gate(position, node)
                case "kv_write":
                    self._rotary_kv_write(position, node)

    def _made_by(self, value: Value, op: str) -> int | None:
        """Give the position of the node that makes a value, if it is of this op and still there."""
        position = self._maker.get(value)
        if position is None or position in self.gone or position in self.writes:
            return None
        return position if self._nodes[position].op == op else None

    def _is_only_for(self, value: Value, position: int) -> bool:
        return self._users.get(value) == [position]

    def _add_rms_norm(self, position: int, norm: Node) -> None:
        total = norm.inputs[0]
        at = self._made_by(total, "add")
        if at is None:
            return
        add = self._nodes[at]

        def write(copy: Copy) -> None:
            x, residual = (copy.at[value] for value in add.inputs)
            weight = copy.at[norm.inputs[1]]
            emit = copy.emit(norm.scope)
            normed, summed = emit("add_rms_norm", x, residual, weight, **attrs_of(norm))
            copy.at[norm.outputs[0]], copy.at[total] = normed, summed

        self.writes[at] = write
        self.gone.add(position)

    def _silu_gate(self, position: int, mul: Node) -> None:
        active, up = mul.inputs
        silu_at = self._made_by(active, "silu")
        split_at = self._made_by(up, "split")
        if silu_at is None or split_at is None:
            return
        gate = self._nodes[silu_at].inputs[0]
        split = self._nodes[split_at]
        halves = split.outputs == (gate, up) and len(set(_sizes(split))) == 1
        private = (
            self._is_only_for(active, position)
            and self._is_only_for(up, position)
            and self._is_only_for(gate, silu_at)
        )
        if not (halves and private):
            return

        def write(copy: Copy) -> None:
            (made,) = copy.emit(mul.scope)("silu_gate", copy.at[split.inputs[0]])
            copy.at[mul.outputs[0]] = made

        self.writes[position] = write
        self.gone.update((silu_at, split_at))

    def _rotary_kv_write(self, position: int, write_node: Node) -> None:
        turned_k, v, slots, kv = write_node.inputs
        k_at = self._made_by(turned_k, "rotary")
        if k_at is None or not self._is_only_for(turned_k, position):
            return
        turn_k = self._nodes[k_at]
        q_at = self._query_turned_with(turn_k, position)
        if q_at is None:
            return
        turn_q = self._nodes[q_at]

        def write(copy: Copy) -> None:
            values = (turn_q.inputs[0], turn_k.inputs[0], v, turn_k.inputs[1], slots, kv)
            (made,) = copy.emit(write_node.scope)(
                "rotary_kv_write", *(copy.at[value] for value in values), **attrs_of(turn_k)
            )
            copy.at[turn_q.outputs[0]] = made

        self.writes[position] = write
        self.gone.update((k_at, q_at))

    def _query_turned_with(self, turn_k: Node, write_at: int) -> int | None:
        """Find the other rotary of the same table, whose result is read only after the write."""
        for position in range(write_at - 1, -1, -1):
            node = self._nodes[position]
            if node is turn_k or node.op != "rotary" or position in self.gone:
                continue
            if node.inputs[1] != turn_k.inputs[1] or node.attrs != turn_k.attrs:
                continue
            if all(user > write_at for user in self._users.get(node.outputs[0], [])):
                return position
            return None
        return None


def _sizes(split: Node) -> tuple[object, ...]:
    sizes = attrs_of(split)["sizes"]
    assert isinstance(sizes, tuple)
    return sizes
