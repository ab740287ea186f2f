"""Shaping logits before the choice: what the contract's reference says, on the oracle's numbers.

Scores of cuts are float32, as those of the choice, because both are made of the same bits.

Knows nothing of who asked.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints, Words
from octavo_platforms import shaping


def bias_logits(logits: Floats, ids: Ints, values: Floats) -> Floats:
    """Add values at ids. Shapes: [S, V], [S, B], [S, B]; returns [S, V]."""
    return shaping.biased(logits, ids, values)


def penalise_logits(
    logits: Floats, history: Ints, spans: Ints, last: Ints, penalties: Floats
) -> Floats:
    """Move the logits of what a context holds. Shapes: [S, V], [S, H], [S, 2], [S], [S, 3]."""
    return shaping.penalised(logits, history, spans, last, penalties)


def truncate_logits(
    logits: Floats, seat_sampling: Words, seats: Ints, top_k: Ints, cuts: Floats
) -> Floats:
    """Forbid what is too unlikely. Shapes: [S, V], [N, 3], [S], [S], [S, 2]; returns [S, V]."""
    temperatures = seat_sampling[seats, 0].copy().view(np.float32)
    return shaping.truncated(logits, temperatures, top_k, cuts)
