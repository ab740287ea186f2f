"""Adapters: what each request's own low-rank weights add to a linear layer.

Knows nothing of which layers are adapted.
"""

from __future__ import annotations

from octavo_conformance.oracle.values import Floats, Ints


def lora_delta(
    y: Floats, x: Floats, a: Floats, b: Floats, slots: Ints, query_starts: Ints, *, first: int
) -> Floats:
    """Add each request's own product to a slice of its rows.

    Shapes: y [T, O]; x [T, I]; a [N, r, I]; b [N, O', r]; slots [R]; query_starts [R+1].
    Source: arXiv 2106.09685 section 4.1; its scale is part of b.
    """
    found = y.copy()
    columns = slice(first, first + b.shape[1])
    for request, slot in enumerate(slots):
        own = slice(query_starts[request], query_starts[request + 1])
        if slot:
            found[own, columns] += x[own] @ a[slot].T @ b[slot].T
    return found
