"""What an entry costs: floating-point operations and bytes moved, node by node.

Counted from shapes alone. A weight counts where it is read, a state by the context that is
read of it (less with a window) or by the rows that are read and written, and every other value
as written once and read once by each user. These are lower limits: what a perfect kernel would
move.

Knows nothing of devices or of how fast they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from octavo_platforms.graph import Dim, Graph, Node, StateType, Value, attrs_of
from octavo_platforms.ops.state import window_of
from octavo_platforms.program import ProgramDef, StateSpec
from octavo_platforms.tensor import itemsize

# How often each number of a state is met for a token: decayed, fed, corrected, read.
MIXERS: Mapping[str, int] = MappingProxyType(
    {"causal_conv": 1, "selective_scan": 3, "gated_delta": 4}
)

# Ops that touch a few rows of a table: as many as they give.
LOOKED_UP = frozenset({"embedding", "embedding_part", "scatter_rows", "sample", "mix_rows"})


@dataclass(frozen=True, slots=True)
class Cost:
    """Floating-point operations and bytes moved."""

    flops: int
    num_bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.num_bytes + other.num_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The step that is counted.

    Units: `num_tokens` new tokens over `num_requests` requests, each of which attends to
        `context_tokens`.
    """

    num_tokens: int
    num_requests: int
    context_tokens: int

    def sizes(self, state: StateSpec | None) -> Mapping[str, int]:
        """Give the symbols of the launch face for this step."""
        block_size = 1 if state is None else state.block_size
        requests = self.num_requests
        blocks = -(-self.context_tokens // block_size)
        return {"T": self.num_tokens, "R": requests, "S": requests, "M": blocks, "U": 0, "N": 1}


def costs(graph: Graph, program: ProgramDef, load: Load) -> tuple[Cost, ...]:
    """Count each node of an entry."""
    counter = _Counter(graph, program, load)
    return tuple(counter.cost(node) for node in graph.nodes)


class _Counter:
    def __init__(self, graph: Graph, program: ProgramDef, load: Load) -> None:
        self._graph = graph
        self._program = program
        self._load = load
        paged = (state for state in program.states if state.kind in ("paged", "window"))
        own = {symbol.name: symbol.maximum for symbol in program.symbols}
        self._sizes = {**own, **load.sizes(next(paged, None))}
        self._tables = {leaf.value for leaf in graph.leaves if leaf.kind in ("weight", "buffer")}

    def cost(self, node: Node) -> Cost:
        """Count one node."""
        if node.op in ("heads", "flatten", "split"):
            return Cost(0, 0)
        made = sum(self._bytes(value) for value in node.outputs)
        read = sum(self._read_bytes(node, value) for value in node.inputs)
        return Cost(self._flops(node), made + read)

    def _flops(self, node: Node) -> int:
        if node.op == "linear":
            out = self._count(node.outputs[0])
            return 2 * out * self._count_last(node.inputs[1])
        if node.op == "lora_delta":
            tokens, rank = self._sizes_of(node.inputs[1])[0], self._sizes_of(node.inputs[2])[1]
            widths = self._count_last(node.inputs[1]) + self._sizes_of(node.inputs[3])[1]
            return 2 * tokens * rank * widths
        if node.op == "grouped_linear":
            return 2 * self._count(node.outputs[0]) * self._count_last(node.inputs[1])
        if node.op in ("attention", "encoder_attention", "cross_attention"):
            return 4 * self._count(node.outputs[0]) * self._seen_tokens(node)
        if node.op == "latent_attention":
            return self._latent_flops(node)
        if node.op in MIXERS:
            return 2 * self._count(node.outputs[0]) * self._mixed_numbers(node)
        return sum(self._count(value) for value in node.outputs)

    def _latent_flops(self, node: Node) -> int:
        """Count the form that is less: queries brought to latents, or latents made keys, values."""
        tokens, heads, plain = self._sizes_of(node.inputs[0])
        rope = self._count_last(node.inputs[1])
        latent, value = self._count_last(node.inputs[2]), self._count_last(node.outputs[0])
        context, by_weight = self._load.context_tokens, latent * (plain + value)
        absorbed = tokens * (context * (2 * latent + rope) + by_weight)
        made = self._load.num_requests * context * by_weight
        return 2 * heads * min(absorbed, tokens * context * (plain + rope + value) + made)

    def _mixed_numbers(self, node: Node) -> int:
        """Count what a number that a mixer gives is made of, at a multiplication and a sum each."""
        if node.op == "causal_conv":
            return self._count_last(node.inputs[1])
        kept = self._count_last(node.inputs[3] if node.op == "selective_scan" else node.inputs[1])
        return MIXERS[node.op] * kept

    def _seen_tokens(self, node: Node) -> int:
        window = window_of(attrs_of(node))
        context = self._load.context_tokens
        return context if window is None else min(window, context)

    def _read_bytes(self, node: Node, value: Value) -> int:
        found = self._graph.types[value]
        if isinstance(found, StateType):
            if node.op in ("attention", "latent_attention", "cross_attention"):
                state = self._program.state(found.group)
                slot = sum(plane.bytes_per_slot for plane in state.planes)
                return self._load.num_requests * self._seen_tokens(node) * slot
            if node.op in MIXERS:
                state = self._program.state(found.group)
                plane = state.planes[state.place_of(str(attrs_of(node)["plane"]))]
                return 2 * self._load.num_requests * plane.bytes_per_slot
            return self._bytes(node.inputs[0])
        if value in self._tables and node.op in LOOKED_UP:
            return 0 if not node.outputs else self._bytes(node.outputs[0])
        if node.op == "grouped_linear" and value == node.inputs[1]:
            num_experts, rows = self._sizes_of(value)[0], self._sizes_of(node.inputs[0])[0]
            return self._bytes(value) // num_experts * min(num_experts, rows)
        if node.op == "lora_delta" and value in node.inputs[2:4]:
            num_slots = self._sizes_of(value)[0]
            return self._bytes(value) // num_slots * min(num_slots, self._load.num_requests)
        return self._bytes(value)

    def _bytes(self, value: Value) -> int:
        return self._count(value) * itemsize(self._graph.tensor_type(value).dtype)

    def _count(self, value: Value) -> int:
        return prod(self._sizes_of(value))

    def _count_last(self, value: Value) -> int:
        return self._sizes_of(value)[-1]

    def _sizes_of(self, value: Value) -> list[int]:
        shape = self._graph.tensor_type(value).shape
        return [size.at(self._sizes) if isinstance(size, Dim) else size for size in shape]
