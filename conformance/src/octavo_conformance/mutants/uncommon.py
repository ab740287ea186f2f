"""Mistakes in ops that only some models need: windows, experts, encoders, adapters.

Each differs from the oracle in one thing. Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from octavo_conformance.oracle import adapters, attention, encoder, experts
from octavo_conformance.oracle.attention import Planes
from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.graph import Attr


def no_window(
    q: Floats, starts: Ints, computed: Ints, table: Ints, state: Planes, *, scale: float
) -> Floats:
    """Attention that sees everything, whatever window it was asked for."""
    return attention.attention(q, starts, computed, table, state, scale=scale)


def weighs_what_has_left(
    q: Floats,
    starts: Ints,
    computed: Ints,
    table: Ints,
    state: Planes,
    *,
    scale: float,
    window: int | None,
) -> Floats:
    """Attention that gives slots before a window the weight 0, and multiplies by what they hold."""
    found = attention.attention(q, starts, computed, table, state, scale=scale, window=window)
    for request, (start, stop) in enumerate(pairwise(starts)):
        num_left = max(0, int(computed[request]) - (window or 0)) // state[0].shape[1]
        found[start:stop] += 0.0 * state[1][table[request, :num_left]].sum()
    return found


def last_of_equal_experts(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing that prefers the highest of equal experts."""
    width = logits.shape[1]
    turned = (bias[::-1] for bias in biases)
    ids, weights = experts.route(logits[:, ::-1], *turned, **attrs)
    return (width - 1 - ids).astype(np.int32), weights


def always_renormalised(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing whose weights always add up to one."""
    return experts.route(logits, *biases, **{**attrs, "renormalise": True})


def weighed_with_bias(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing whose weights know the bias that only chooses."""
    ids, weights = experts.route(logits, *biases, **attrs)
    return ids, weights + sum(bias[ids] for bias in biases)


def without_groups(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing that chooses from all groups."""
    return experts.route(logits, *biases, **{**attrs, "groups": 1, "top_groups": 1})


def groups_by_their_best(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing that takes a group for as good as its best expert, whatever was asked for."""
    return experts.route(logits, *biases, **{**attrs, "group_score": "best"})


def near_the_first(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing whose later choices have shares of what is near the first one."""
    ids, weights = experts.route(logits, *biases, **attrs)
    if attrs.get("score") != "near":
        return ids, weights
    chosen = np.take_along_axis(logits, ids, -1)
    return ids, weights[:, :1] * np.exp(chosen - chosen[:, :1])


def always_softmax(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Routing whose shares are always those of a softmax."""
    return experts.route(logits, *biases, **{**attrs, "score": "softmax"})


def without_expert_biases(x: Floats, weights: Floats, counts: Ints, *biases: Floats) -> Floats:
    """A grouped product that forgets biases."""
    return experts.grouped_linear(x, weights, counts)


ROUTING = (
    ("equal experts reversed", last_of_equal_experts),
    ("always renormalised", always_renormalised),
    ("weights that know the bias", weighed_with_bias),
    ("experts of all groups", without_groups),
    ("groups by their best", groups_by_their_best),
    ("always softmax", always_softmax),
    ("near the first", near_the_first),
)


def masked_experts(x: Floats, weights: Floats, counts: Ints, *biases: Floats) -> Floats:
    """A grouped product that adds up masked products of all experts."""
    owners = np.repeat(np.arange(len(counts)), counts)
    found = np.zeros((len(x), weights.shape[1]))
    for expert, weight in enumerate(weights):
        mask = np.zeros((len(x), 1))
        mask[: len(owners)][owners == expert] = 1.0
        found += (x * mask) @ weight.T + sum(mask * bias[expert] for bias in biases)
    return found


def later_tokens_first(
    ids: Ints, query_starts: Ints, *, num_experts: int
) -> tuple[Ints, Ints, Ints]:
    """Grouping that puts later tokens of an expert first."""
    rows, places, counts = experts.group_rows(
        ids[::-1], np.array([0, len(ids)], np.int32), num_experts=num_experts
    )
    return (len(ids) - 1 - rows).astype(np.int32), places[::-1].copy(), counts


def causal_encoder(
    q: Floats, k: Floats, v: Floats, query_starts: Ints, *, scale: float, **others: object
) -> Floats:
    """An encoder that looks back only."""
    found = np.zeros_like(q)
    for start, stop in pairwise(query_starts):
        own = slice(start, stop)
        found[own] = attention.attend(q[own], k[own], v[own], first=0, scale=scale)
    return found


def mean_of_all(x: Floats, query_starts: Ints) -> Floats:
    """A mean over the whole batch."""
    whole = encoder.mean_rows(x, np.array([0, len(x)], np.int32))
    return np.repeat(whole, len(query_starts) - 1, axis=0)


def first_mates_adapter(
    y: Floats, x: Floats, a: Floats, b: Floats, slots: Ints, query_starts: Ints, *, first: int
) -> Floats:
    """One adapter for the whole batch: that of its first request."""
    return adapters.lora_delta(y, x, a, b, np.full_like(slots, slots[0]), query_starts, first=first)


def adapter_zero_applied(
    y: Floats, x: Floats, a: Floats, b: Floats, slots: Ints, query_starts: Ints, *, first: int
) -> Floats:
    """Slot 0 taken for an adapter like any other."""
    found = y.copy()
    for request, slot in enumerate(slots):
        own = slice(query_starts[request], query_starts[request + 1])
        found[own, first : first + b.shape[1]] += x[own] @ a[slot].T @ b[slot].T
    return found
