"""Merge linear layers that read the same rows: q, k and v become one, gate and up another.

One large product reads its input once and fills a device better than three small ones. The
joined weight is a recipe, so nothing is read or copied here.

Knows no model: any linear layers that share their input are merged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from octavo.graph.passes.rewrite import Copy
from octavo_platforms.graph import Graph, GraphWriter, Node, TensorType, Value
from octavo_platforms.ops.op import fixed
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.recipes import Join


def merged(program: ProgramDef) -> ProgramDef:
    """Merge wherever linear layers share their input, and their weights serve nothing else."""
    weights = {weight.name: weight for weight in program.weights}
    uses = _uses(program)
    entries = {}
    for name, graph in program.entries.items():
        groups = _groups(graph, uses)
        entries[name] = _rewritten(graph, groups, weights)
    read = {leaf.name for graph in entries.values() for leaf in graph.leaves_of("weight")}
    kept = tuple(weight for weight in weights.values() if weight.name in read)
    return replace(program, entries=entries, weights=kept)


@dataclass(frozen=True, slots=True)
class _Group:
    """Linear nodes, by position, that become one."""

    positions: tuple[int, ...]
    scope: str
    names: tuple[str, ...]


def _uses(program: ProgramDef) -> dict[str, int]:
    """Count the nodes that read each weight, in the entry that reads it most."""
    most: dict[str, int] = {}
    for graph in program.entries.values():
        name_of = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
        here: dict[str, int] = {}
        for node in graph.nodes:
            for value in node.inputs:
                if value in name_of:
                    here[name_of[value]] = here.get(name_of[value], 0) + 1
        for name, count in here.items():
            most[name] = max(most.get(name, 0), count)
    return most


def _groups(graph: Graph, uses: dict[str, int]) -> list[_Group]:
    name_of = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
    together: dict[tuple[Value, int], list[int]] = {}
    for position, node in enumerate(graph.nodes):
        if node.op == "linear" and all(
            uses.get(name_of.get(value, ""), 0) == 1 for value in node.inputs[1:]
        ):
            together.setdefault((node.inputs[0], len(node.inputs)), []).append(position)
    groups = []
    for positions in together.values():
        if len(positions) > 1:
            scopes = [graph.nodes[position].scope for position in positions]
            parents = {scope.rpartition(".")[0] for scope in scopes}
            parent = parents.pop() if len(parents) == 1 else scopes[0]
            names = tuple(scope.rpartition(".")[2] for scope in scopes)
            groups.append(_Group(tuple(positions), parent, names))
    return groups


def _rewritten(graph: Graph, groups: list[_Group], weights: dict[str, WeightDef]) -> Graph:
    name_of = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
    first_of = {group.positions[0]: group for group in groups}
    later = {position for group in groups for position in group.positions[1:]}
    gone = {
        name_of[value]
        for group in groups
        for position in group.positions
        for value in graph.nodes[position].inputs[1:]
    }
    copy = Copy(graph, GraphWriter(), without=gone)
    for position, node in enumerate(graph.nodes):
        if position in first_of:
            _write(copy, first_of[position], name_of, weights)
        elif position not in later:
            copy.node(node)
    return copy.finish()


def _write(
    copy: Copy, group: _Group, name_of: dict[Value, str], weights: dict[str, WeightDef]
) -> None:
    nodes = [copy.graph.nodes[position] for position in group.positions]
    scope = f"{group.scope}.{'+'.join(group.names)}"
    joined = []
    for operand, suffix in enumerate(("weight", "bias")[: len(nodes[0].inputs) - 1], start=1):
        parts = [weights[name_of[node.inputs[operand]]] for node in nodes]
        definition = _joined(f"{scope}.{suffix}", parts)
        weights[definition.name] = definition
        joined.append(
            copy.writer.leaf(
                "weight", definition.name, TensorType(definition.shape, definition.dtype)
            )
        )
    emit = copy.emit(scope)
    (wide,) = emit("linear", copy.at[nodes[0].inputs[0]], *joined)
    parts_made = emit("split", wide, sizes=tuple(_width(copy.graph, node) for node in nodes))
    for node, made in zip(nodes, parts_made, strict=True):
        copy.at[node.outputs[0]] = made


def _joined(name: str, parts: list[WeightDef]) -> WeightDef:
    rows = sum(part.shape[0] for part in parts)
    recipe = Join(tuple(part.recipe for part in parts), axis=0)
    return WeightDef(name, (rows, *parts[0].shape[1:]), parts[0].dtype, recipe)


def _width(graph: Graph, node: Node) -> int:
    return fixed(graph.tensor_type(node.outputs[0]).shape[-1])
