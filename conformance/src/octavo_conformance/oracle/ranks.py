"""Ops of several ranks: what each rank gets, of what all of them bring.

These are functions of every rank's inputs, in the order of their numbers, and give every rank's
outputs; they stand apart from the ops that one rank can run by itself.

Knows nothing of how ranks reach one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.tensor import Array

Every = Sequence[Array]


def all_reduce(every: Every) -> Every:
    """Sum over all ranks."""
    return [np.sum(np.stack(every), axis=0)] * len(every)


def all_gather(every: Every, *, axis: int) -> Every:
    """Join along an axis, by the ranks' numbers."""
    return [np.concatenate(every, axis=axis)] * len(every)


def reduce_scatter(every: Every, *, axis: int) -> Every:
    """Sum over all ranks, and deal out equal parts along an axis."""
    return np.split(np.sum(np.stack(every), axis=0), len(every), axis=axis)


def all_to_all(every: Every, counts: Sequence[Ints]) -> tuple[Every, Sequence[Ints]]:
    """Give the j-th rank the j-th share of everybody, and of everybody's counts."""
    return _dealt(every), [each.astype(np.int32) for each in _dealt(counts)]


def send(every: Every) -> None:
    """Give nothing."""


def recv(sent: Array) -> Array:
    """Give what the sender brought."""
    return sent


def embedding_part(tables: Every, ids: Sequence[Ints]) -> Every:
    """Look up the own rows, and give zeros for the others. Shapes: [V', E] and [T], by rank."""
    found = []
    for number, (table, wanted) in enumerate(zip(tables, ids, strict=True)):
        rows = np.zeros((len(wanted), table.shape[1]))
        for token, row in enumerate(wanted - number * len(table)):
            if 0 <= row < len(table):
                rows[token] = table[row]
        found.append(rows)
    return found


def expert_part(
    ids: Ints, weights: Floats, tokens: Ints, *, num_experts: int
) -> Sequence[tuple[Ints, Floats]]:
    """Give each rank its own experts' pairs. Shapes: ids and weights [N*T, k]; tokens [N]."""
    found = []
    room = len(ids) // len(tokens)
    for number in range(len(tokens)):
        own, shares = np.full_like(ids, num_experts), np.zeros_like(weights)
        for token, choice in np.ndindex(*ids.shape):
            expert = int(ids[token, choice]) - number * num_experts
            if 0 <= expert < num_experts and token % room < tokens[token // room]:
                own[token, choice], shares[token, choice] = expert, weights[token, choice]
        found.append((own, shares))
    return found


def _dealt(every: Every) -> Every:
    shares = [np.split(each, len(every)) for each in every]
    return [np.concatenate(received) for received in zip(*shares, strict=True)]


COLLECTIVES: Mapping[str, Callable[..., object]] = MappingProxyType(
    {
        op.__name__: op
        for op in (
            all_reduce,
            all_gather,
            reduce_scatter,
            all_to_all,
            send,
            recv,
            embedding_part,
            expert_part,
        )
    }
)
