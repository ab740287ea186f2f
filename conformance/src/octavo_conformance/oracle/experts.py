"""Mixtures of experts: which experts a token has, its rows among theirs, and their sum.

Knows nothing of what an expert computes but products.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints


def route(logits: Floats, *, top_k: int, renormalise: bool) -> tuple[Ints, Floats]:
    """Choose experts by the largest logits, and weigh them. Shapes: [T, X]; gives [T, k] twice.

    Source: arXiv 2401.04088 section 2.1; without renormalising, arXiv 2101.03961 section 2.1.
    """
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :top_k].astype(np.int32)
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    chosen = np.take_along_axis(powers, ids, -1)
    total = np.sum(chosen if renormalise else powers, axis=-1, keepdims=True)
    return ids, chosen / total


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


def grouped_linear(x: Floats, weights: Floats, counts: Ints) -> Floats:
    """Multiply each run of rows by its own weight. Shapes: [A, I], [X, O, I], [X]; [A, O]."""
    found = np.zeros((len(x), weights.shape[1]))
    first = 0
    for weight, count in zip(weights, counts, strict=True):
        found[first : first + count] = x[first : first + count] @ weight.T
        first += count
    return found


def combine(y: Floats, places: Ints, weights: Floats) -> Floats:
    """Sum each token's rows by weight. Shapes: y [kT, E]; places, weights [T, k]; [T, E]."""
    found: Floats = np.einsum("tke,tk->te", y[places], weights)
    return found
