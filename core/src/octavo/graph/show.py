"""Showing a bound program: what runs where, why, and what it costs, as text.

Layers that repeat are shown once, with how often they do. Knows nothing of how nodes were
bound; it reads the binding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from octavo.graph.cost import Cost, Load, costs
from octavo_platforms.binding import Binding, BoundEntry, Choice
from octavo_platforms.graph import Node
from octavo_platforms.program import ProgramDef

_INDEX = re.compile(r"\.\d+(?=\.|$)")


def table(program: ProgramDef, binding: Binding, load: Load) -> str:
    """Write every entry as a table: op, place, provider, kernel, reason, FLOPs and bytes."""
    return "\n\n".join(
        _entry(name, entry, program, load) for name, entry in _shown(program, binding)
    )


def providers(binding: Binding) -> str:
    """Write in one line who provides how many nodes of the entries that will run."""
    counts: dict[str, int] = {}
    for entry in binding.entries.values():
        for choice in entry.choices:
            counts[choice.provider] = counts.get(choice.provider, 0) + 1
    return ", ".join(f"{provider}: {count} nodes" for provider, count in sorted(counts.items()))


def columns(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Align rows of text; `right` are the columns of numbers."""
    listed = [tuple(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*listed, strict=True)]
    lines = []
    for row in listed:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


@dataclass(slots=True)
class _Row:
    """Nodes that are alike but for their layer."""

    node: Node
    choice: Choice
    times: int
    cost: Cost


def _shown(program: ProgramDef, binding: Binding) -> list[tuple[str, BoundEntry]]:
    """Leave out entries that are contained in `step`, where there is one, and optional ones."""
    names = ["step"] if "step" in binding.entries else sorted(binding.entries)
    names = [name for name in names if name not in program.optional]
    return [(name, binding.entries[name]) for name in names]


def _entry(name: str, entry: BoundEntry, program: ProgramDef, load: Load) -> str:
    rows: dict[tuple[str, str, Choice], _Row] = {}
    counted = costs(entry.graph, program, load)
    for node, choice, cost in zip(entry.graph.nodes, entry.choices, counted, strict=True):
        place = _INDEX.sub(".*", node.scope)
        row = rows.get((node.op, place, choice))
        if row is None:
            rows[(node.op, place, choice)] = _Row(node, choice, 1, cost)
        else:
            row.times += 1
            row.cost = row.cost + cost
    total = sum(counted, Cost(0, 0))
    header = ("op", "place", "times", "provider", "kernel", "why", "MFLOP", "MB")
    body = [_cells(row) for row in rows.values()]
    last = ("all", "", str(len(entry.graph.nodes)), "", "", "", *_costs(total))
    return f"entry {name}, a step of {_load(load)}\n" + columns(
        [header, *body, last], right=frozenset({2, 6, 7})
    )


def _cells(row: _Row) -> tuple[str, ...]:
    place = _INDEX.sub(".*", row.node.scope)
    why = "; ".join(row.choice.refusals) or "first asked"
    if row.choice.compound is not None:
        why = f"piece of {row.choice.compound}, which nobody claims; {why}"
    numbers = _costs(row.cost)
    kernel = row.choice.kernel.name
    return row.node.op, place, str(row.times), row.choice.provider, kernel, why, *numbers


def _costs(cost: Cost) -> tuple[str, str]:
    return f"{cost.flops / 1e6:.2f}", f"{cost.num_bytes / 1e6:.2f}"


def _load(load: Load) -> str:
    tokens = "1 token" if load.num_tokens == 1 else f"{load.num_tokens} tokens"
    requests = "1 request" if load.num_requests == 1 else f"{load.num_requests} requests"
    return f"{tokens} for {requests} with a context of {load.context_tokens}"
