"""Mistakes in shaping logits: counts, orders and ties, each in one thing.

Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle import scores, shaping
from octavo_conformance.oracle.values import Floats, Ints, Words


def bias_once(logits: Floats, ids: Ints, values: Floats) -> Floats:
    """Biases of which an id takes the last alone."""
    found = logits.copy()
    rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
    found[rows, ids] = logits[rows, ids] + values
    return found


def penalise_the_padding(
    logits: Floats, history: Ints, spans: Ints, last: Ints, penalties: Floats
) -> Floats:
    """Penalties that read a history to its end, whatever its length."""
    whole = spans.copy()
    whole[:, 0] = history.shape[1]
    return shaping.penalise_logits(logits, history, whole, last, penalties)


def penalise_without_the_last(
    logits: Floats, history: Ints, spans: Ints, last: Ints, penalties: Floats
) -> Floats:
    """Penalties by what the host knows alone."""
    earlier = np.maximum(spans - [[1, 0]], 0).astype(np.int32)
    before = history[np.arange(len(last)), earlier[:, 0]]
    return shaping.penalise_logits(logits, history, earlier, before, penalties)


def count_the_prompt(
    logits: Floats, history: Ints, spans: Ints, last: Ints, penalties: Floats
) -> Floats:
    """Penalties of the output that the prompt counts for too."""
    return shaping.penalise_logits(
        logits, history, (spans * [[1, 0]]).astype(np.int32), last, penalties
    )


def repeat_whatever_the_sign(
    logits: Floats, history: Ints, spans: Ints, last: Ints, penalties: Floats
) -> Floats:
    """A repetition penalty that makes negative logits likelier."""
    size = np.abs(logits)
    found = shaping.penalise_logits(size, history, spans, last, penalties * [[1, 0, 0]])
    others = penalties * [[0, 1, 1]] + [[1, 0, 0]]
    return shaping.penalise_logits(found * np.sign(logits), history, spans, last, others)


def cut_ties(
    logits: Floats, seat_sampling: Words, seats: Ints, top_k: Ints, cuts: Floats
) -> Floats:
    """A top-k that keeps no more than k, whichever of equal ones."""
    found = shaping.truncate_logits(logits, seat_sampling, seats, top_k, cuts)
    for row, count in enumerate(top_k):
        if count and seat_sampling[seats[row], 0]:
            found[row, np.argsort(-logits[row], kind="stable")[count:]] = -np.inf
    return found


def cut_the_share_first(
    logits: Floats, seat_sampling: Words, seats: Ints, top_k: Ints, cuts: Floats
) -> Floats:
    """A top-p of all ids, rather than of those that the other cuts left."""
    found = shaping.truncate_logits(logits, seat_sampling, seats, top_k * 0, cuts * [[1, 0]])
    others = cuts * [[0, 1]] + [[1, 0]]
    return shaping.truncate_logits(found, seat_sampling, seats, top_k, others)


def cut_before_the_temperature(
    logits: Floats, seat_sampling: Words, seats: Ints, top_k: Ints, cuts: Floats
) -> Floats:
    """Cuts by shares that no temperature changed."""
    plain = seat_sampling.copy()
    plain[plain[:, 0] != 0, 0] = np.float32(1).view(np.uint32)
    return shaping.truncate_logits(logits, plain, seats, top_k, cuts)


def likeliest_from_the_end(logits: Floats, *, count: int) -> tuple[Ints, Floats]:
    """The likeliest ids, of equal ones the highest first."""
    ids, logprobs = scores.most_likely(logits[:, ::-1], count=count)
    return (logits.shape[1] - 1 - ids).astype(np.int32), logprobs
