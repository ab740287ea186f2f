"""Mixtures of experts: which experts a token has, its rows among theirs, and their sum.

Knows nothing of what an expert computes but products.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.graph import Attr
from octavo_platforms.ops.experts import Routing, routing_of


def route(logits: Floats, *biases: Floats, **attrs: Attr) -> tuple[Ints, Floats]:
    """Choose experts, and weigh them. Shapes: logits [T, X], bias [X] or none; [T, k] twice.

    Source: arXiv 2401.04088 section 2.1; without renormalising, arXiv 2101.03961 section 2.1;
        groups, arXiv 2405.04434 section 2.2.2; sigmoid and bias, arXiv 2412.19437 section 2.1.2;
        near shares, arXiv 2409.12136.
    """
    routing = routing_of(attrs)
    if routing.score == "near":
        return _nearest(logits, routing)
    if routing.score == "softmax":
        powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
        shares = powers / np.sum(powers, axis=-1, keepdims=True)
    else:
        shares = 1 / (1 + np.exp(-logits))
    by = shares + biases[0] if biases else logits
    if routing.groups > 1:
        good = shares + biases[0] if biases else shares
        grouped = np.sort(good.reshape(len(good), routing.groups, -1), axis=-1)
        scores = grouped[..., -1] if routing.group_score == "best" else grouped[..., -2:].sum(-1)
        best = np.argsort(-scores, axis=-1, kind="stable")[:, : routing.top_groups]
        is_open = np.zeros(scores.shape, np.bool_)
        np.put_along_axis(is_open, best, True, axis=-1)
        by = np.where(np.repeat(is_open, grouped.shape[-1], axis=-1), by, -np.inf)
    ids = np.argsort(-by, axis=-1, kind="stable")[:, : routing.top_k].astype(np.int32)
    chosen = np.take_along_axis(shares, ids, -1)
    total = np.sum(chosen, axis=-1, keepdims=True) if routing.renormalise else 1.0
    return ids, chosen / total * routing.factor


def _nearest(logits: Floats, routing: Routing) -> tuple[Ints, Floats]:
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, : routing.top_k].astype(np.int32)
    weights = np.zeros(ids.shape)
    for token, row in enumerate(logits):
        for choice, chosen in enumerate(ids[token]):
            left = np.delete(row, ids[token, :choice])
            reach = routing.nearness * np.maximum(row[chosen], np.abs(left))
            near = left[row[chosen] - left <= reach]
            weights[token, choice] = 1 / np.sum(np.exp(near - row[chosen]))
    return ids, weights * routing.factor


def group_rows(ids: Ints, query_starts: Ints, *, num_experts: int) -> tuple[Ints, Ints, Ints]:
    """Sort pairs of token and expert by expert. Shapes: [T, k], [R+1]; [kT], [T, k], [X]."""
    num_tokens, top_k = ids.shape
    pairs = [
        (int(ids[token, choice]) if token < query_starts[-1] else num_experts, token, choice)
        for token in range(num_tokens)
        for choice in range(top_k)
    ]
    rows, places = np.zeros(len(pairs), np.int32), np.zeros_like(ids)
    counts = np.zeros(num_experts + 1, np.int32)
    for place, (expert, token, choice) in enumerate(sorted(pairs)):
        rows[place] = token
        places[token, choice] = place
        counts[expert] += 1
    return rows, places, counts[:num_experts]


def grouped_linear(x: Floats, weights: Floats, counts: Ints, *biases: Floats) -> Floats:
    """Multiply each run of rows by its own weight, and add its bias, where there is one.

    Shapes: x [A, I]; weights [X, O, I]; counts [X]; bias [X, O]; returns [A, O].
    """
    found = np.zeros((len(x), weights.shape[1]))
    first = 0
    for expert, (weight, count) in enumerate(zip(weights, counts, strict=True)):
        own = sum(bias[expert] for bias in biases)
        found[first : first + count] = x[first : first + count] @ weight.T + own
        first += count
    return found


def combine(y: Floats, places: Ints, weights: Floats) -> Floats:
    """Sum each token's rows by weight. Shapes: y [kT, E]; places, weights [T, k]; [T, E]."""
    rows = np.where(weights[..., None] == 0, 0, y[places])
    found: Floats = np.einsum("tke,tk->te", rows, weights)
    return found
