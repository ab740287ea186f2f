"""Policies: whose turn comes before whose.

A policy gives each request its turn, once, when it arrives; lower comes first. Everything that
asks who is first or last asks by turns: who is seated next, who gets a step's tokens first, and
who loses its seat where blocks run out. No two requests have the same turn.

    fcfs       (0, arrival)          who came first; so nobody starves
    priority   (priority, arrival)   the lowest number; who came first among equals

Knows nothing of seats, blocks or steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from octavo.config import PolicyName
from octavo.request import Turn

Policy = Callable[[int, int], Turn]


def by_arrival(priority: int, arrival: int) -> Turn:
    """Give the turn of a request where priorities do not count."""
    return Turn((0, arrival))


def by_priority(priority: int, arrival: int) -> Turn:
    """Give the turn of a request where the lowest priority number comes first."""
    return Turn((priority, arrival))


POLICIES: Mapping[PolicyName, Policy] = MappingProxyType(
    {"fcfs": by_arrival, "priority": by_priority}
)
