"""Cuts: what of a program each rank can have a part of, found by what its ops mean.

    linear ─> heads, rotary, attention, silu, mul, ... ─> linear
    column    each feature by itself: these stay split    row, and a sum over ranks

Values that such ops tie together are split together or not at all: a layer's query heads with
the state that they read, a gate with what it gates. They are split where only linear layers make
them and only linear layers read them. Anything else is whole on every rank, which is
always right. Tables of embeddings and heads are split by vocabulary.

Knows no family, no weight by its name, and not what is written instead (`shard`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from octavo_platforms.graph import Graph, Node, StateType, Value, attrs_of
from octavo_platforms.program import ProgramDef

Role = Literal["column", "row", "vocabulary"]
Key = tuple[str, int | str]
"""A value of an entry, or a state group as ("", its name): one cut for all its layers."""


@dataclass(frozen=True, slots=True)
class Tie:
    """An op that works on each feature or head by itself: which operands it ties to its result.

    `weights` are operands that have rows for each head, which a rank has for its own heads; one
    of `shared_axes` axes is the same for all heads, and whole.
    `heads_only` says that this holds where heads have an axis of their own, or where rows fall
    into equal sections.
    """

    operands: tuple[int, ...] = (0,)
    weights: tuple[int, ...] = ()
    heads_only: bool = False
    shared_axes: int = 0


TIES: Mapping[str, Tie] = MappingProxyType(
    {
        "heads": Tie(),
        "flatten": Tie(),
        "rotary": Tie(),
        "cast": Tie(),
        "silu": Tie(),
        "silu_gate": Tie(),
        "mul": Tie((0, 1)),
        "split": Tie(heads_only=True),
        "rms_norm": Tie(weights=(1,), heads_only=True, shared_axes=1),
        "layer_norm": Tie(weights=(1, 2), heads_only=True, shared_axes=1),
        "gelu": Tie(),
        "gelu_tanh": Tie(),
        "relu": Tie(),
        "scale": Tie(),
        "sigmoid": Tie(),
        "clamp": Tie(),
        "sharpen": Tie(),
        "add": Tie((0, 1)),
        "kv_write": Tie((0, 1, 3)),
        "state_copy": Tie((2,)),
        "attention": Tie((0, 4), weights=(5, 6)),
        "cross_attention": Tie((0, 4)),
        "encoder_attention": Tie((0, 1, 2)),
        "latent_attention": Tie((0, 1), weights=(2,)),
    }
)
LINEAR = frozenset({"linear", "grouped_linear"})
BIAS_OF: Mapping[str, int] = MappingProxyType({"linear": 2, "grouped_linear": 3})
"""Which operand of a layer is its bias."""
LOGITS_READERS = frozenset(
    {"sample", "mask_logits", "score", "bias_logits", "penalise_logits", "truncate_logits"}
)
SHARED_HEADS = frozenset(
    {("kv_write", 0), ("kv_write", 1), ("encoder_attention", 1), ("encoder_attention", 2)}
)


@dataclass(frozen=True, slots=True)
class Use:
    """One read of a weight: by which node of which entry, as which operand."""

    entry: str
    node: Node
    operand: int


class Cuts:
    """What is split of a program's values, states and weights."""

    def __init__(self, program: ProgramDef) -> None:
        self.views = {name: View(graph) for name, graph in program.entries.items()}
        self.uses: dict[str, list[Use]] = {}
        self._parent: dict[Key, Key] = {}
        self._whole: set[Key] = set()
        for entry, view in self.views.items():
            self._read(entry, view)
        self._whole_roots: set[Key] = set()
        self._settle()
        self._role_of = {
            weight: next(iter(roles))
            for weight in self.uses
            if len(roles := self._roles(weight)) == 1
        }

    def is_split(self, entry: str, value: Value) -> bool:
        """Tell whether each rank has a part of a value."""
        return self._is_split(self._key(entry, value))

    def is_split_state(self, group: str) -> bool:
        """Tell whether each rank has some heads of a state."""
        return self._is_split(("", group))

    def role(self, weight: str) -> Role | None:
        """Say how all readers of a weight want it split; None is whole."""
        return self._role_of.get(weight)

    def _roles(self, weight: str) -> set[Role | None]:
        return {self._role(weight, use) for use in self.uses[weight]}

    def _role(self, weight: str, use: Use) -> Role | None:
        node, entry = use.node, use.entry
        if node.op == "embedding" and use.operand == 0:
            return "vocabulary"
        tie = TIES.get(node.op)
        if tie is not None and use.operand in tie.weights:
            weight_type = self.views[entry].graph.tensor_type(node.inputs[use.operand])
            if len(weight_type.shape) == tie.shared_axes:
                return None
            return "column" if self.is_split(entry, node.outputs[0]) else None
        if node.op not in LINEAR or use.operand == 0:
            return None
        if self.is_split(entry, node.inputs[0]):
            return "row"
        if self.is_split(entry, node.outputs[0]):
            return "column"
        return "vocabulary" if self._makes_logits(weight, use) else None

    def _makes_logits(self, weight: str, use: Use) -> bool:
        if use.node.op != "linear":
            return False
        view, made = self.views[use.entry], use.node.outputs[0]
        is_tied = any(other.node.op == "embedding" for other in self.uses[weight])
        is_read = any(node.op in LOGITS_READERS for node, _ in view.reads.get(made, ()))
        return is_tied or is_read or made in view.given_out

    def _read(self, entry: str, view: View) -> None:
        self._whole.update((entry, value) for value in (*view.leaves, *view.given_out))
        for node in view.graph.nodes:
            tied = view.tied(node)
            keys = [self._key(entry, node.inputs[operand]) for operand in tied]
            if tied:
                keys += [(entry, value) for value in node.outputs]
            elif node.op not in LINEAR:
                self._whole.update((entry, value) for value in node.outputs)
            for key in keys:
                self._join(keys[0], key)
            for operand, value in enumerate(node.inputs):
                if value in view.weights:
                    self.uses.setdefault(view.weights[value], []).append(Use(entry, node, operand))
                elif operand not in tied and (node.op not in LINEAR or operand != 0):
                    self._whole.add(self._key(entry, value))
            if view.sections(node) > 1 and not view.is_made_for(node):
                self._whole.add((entry, node.inputs[0]))

    def _settle(self) -> None:
        """Find what has to be whole because of what else is, to the end of the chain."""
        before = -1
        while before != len(self._whole_roots):
            before = len(self._whole_roots)
            self._whole_roots = {self._root(key) for key in self._whole}
            for weight, uses in self.uses.items():
                for use in uses:
                    if use.node.op in LINEAR and self.is_split(use.entry, use.node.inputs[0]):
                        self._whole.add((use.entry, use.node.outputs[0]))
                if len(self._roles(weight)) > 1:
                    self._whole.update(
                        self._key(use.entry, value)
                        for use in uses
                        for value in (use.node.inputs[0], use.node.outputs[0])
                    )

    def _is_split(self, key: Key) -> bool:
        return key in self._parent and self._root(key) not in self._whole_roots

    def _key(self, entry: str, value: Value) -> Key:
        found = self.views[entry].graph.types[value]
        return ("", found.group) if isinstance(found, StateType) else (entry, value)

    def _join(self, one: Key, other: Key) -> None:
        self._parent.setdefault(one, one)
        self._parent.setdefault(other, other)
        self._parent[self._root(one)] = self._root(other)

    def _root(self, key: Key) -> Key:
        while self._parent.get(key, key) != key:
            key = self._parent[key]
        return key


class View:
    """One entry, looked up by value: its weights, who makes what, who reads it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.leaves = [leaf.value for leaf in graph.leaves if leaf.kind != "state"]
        self.weights = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
        self.given_out = {value for _, value in graph.outputs}
        self.makers = {value: node.op for node in graph.nodes for value in node.outputs}
        self.reads: dict[Value, list[tuple[Node, int]]] = {}
        for node in graph.nodes:
            for operand, value in enumerate(node.inputs):
                self.reads.setdefault(value, []).append((node, operand))

    def tied(self, node: Node) -> tuple[int, ...]:
        """Give the operands that an op ties to its result; none, where it does not work so."""
        tie = TIES.get(node.op)
        if tie is None:
            return ()
        if tie.heads_only and not self._has_heads(node) and self.sections(node) == 1:
            return ()
        return tie.operands

    def sections(self, node: Node) -> int:
        """Count the equal parts that an op takes rows apart into, each of which ranks share out."""
        if node.op == "silu_gate":
            return 2
        sizes = attrs_of(node).get("sizes") if node.op == "split" else None
        is_even = isinstance(sizes, tuple) and len(set(sizes)) == 1 and not self._has_heads(node)
        return len(sizes) if is_even and isinstance(sizes, tuple) else 1

    def is_made_for(self, node: Node) -> bool:
        """Tell whether a layer makes what an op reads, for that op alone."""
        made = node.inputs[0]
        return self.makers.get(made) in LINEAR and len(self.reads[made]) == 1

    def _has_heads(self, node: Node) -> bool:
        return len(self.graph.tensor_type(node.inputs[0]).shape) == 3

    def readers(self, value: Value) -> Iterator[tuple[Node, int]]:
        """Walk the reads of a value, and of what is made of it alone, head by head."""
        for node, operand in self.reads.get(value, ()):
            yield node, operand
            if self.tied(node) == (0,):
                for made in node.outputs:
                    yield from self.readers(made)
