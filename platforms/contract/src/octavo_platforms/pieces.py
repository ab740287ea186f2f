"""Pieces: what a node's op is in a platform's catalogue, and its decomposition written out.

Knows nothing of who is asked for a kernel (`bind`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Graph, GraphWriter, Node, StateType, Value, ValueType, attrs_of
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import Emitter, Op


@dataclass(frozen=True, slots=True)
class Pieces:
    """A decomposition: what it was given, the nodes, and what they made of it."""

    graph: Graph
    given: tuple[Value, ...]
    made: tuple[Value, ...]


def pieces_of(node: Node, types: Sequence[ValueType], platform: Platform) -> Pieces | None:
    """Write a node's decomposition out; None for a primitive."""
    decompose = op_of(node, platform).decompose
    if decompose is None:
        return None
    writer = GraphWriter()
    given = [writer.leaf("input", f"{i}", types[value]) for i, value in enumerate(node.inputs)]
    made = decompose(Emitter(writer, platform.catalogue, node.scope), given, attrs_of(node))
    return Pieces(writer.finish(), tuple(given), tuple(made))


def op_of(node: Node, platform: Platform) -> Op:
    """Find a node's op. Raises: CannotBind, where the platform's catalogue does not have it."""
    op = platform.catalogue.get(node.op)
    if op is None:
        raise CannotBind(
            f"the platform '{platform.info.name}' has no op '{node.op}', which stands at "
            f"'{node.scope}'; a private op runs only on platforms that register it"
        )
    return op


def groups_of(node: Node, types: Sequence[ValueType]) -> tuple[str, ...]:
    """Name the state groups that a node touches."""
    found = [types[value] for value in node.inputs]
    return tuple(each.group for each in found if isinstance(each, StateType))
