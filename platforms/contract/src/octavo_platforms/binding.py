"""Bindings: which kernel runs each node of a program, who gave it, and why.

The result of `bind`, as data: a platform's `compile` reads it, `octavo plan` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octavo_platforms.graph import Graph
from octavo_platforms.platform import Kernel, StateLayout


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel of one node, the distribution that provides it, and the refusals before it.

    `compound` names the op of the model that this node is a piece of, where nobody claimed it
    whole. `writes` are the positions of the node's inputs that a run of it changes, as its op
    says: a platform of pure functions gives new values for these.
    """

    kernel: Kernel
    provider: str
    refusals: tuple[str, ...]
    compound: str | None
    writes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundEntry:
    """An entry after binding: unclaimed compounds are expanded, each node has its choice."""

    graph: Graph
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    """All entries of a program, bound to one platform, and each state group's layout."""

    entries: Mapping[str, BoundEntry]
    layouts: Mapping[str, StateLayout]
