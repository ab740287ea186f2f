"""What logits become before one of them is chosen: the reference in numpy.

    bias, penalties      numbers are moved
    min-p, top-k, top-p  what stays behind the likeliest becomes minus infinity

An id is cut by how many are likelier than it, or by how large their share is, so ids of equal
logits stay or go together, no order among them is needed, and one threshold a row says it all.
Logits that stay are not touched: `sample` divides them by the temperature itself.

Logits keep their dtype. Shares are float64 here, of float32 scores; where a share is nearer to
its limit than float32 can tell, a platform may keep one id more or less.

Knows nothing of requests, nor of who asks for what.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Reals = npt.NDArray[np.floating]
Logits = TypeVar("Logits", npt.NDArray[np.float32], npt.NDArray[np.float64])


def biased(logits: Logits, ids: Ints, values: Reals) -> Logits:
    """Add values at ids; an id that stands twice gets both.

    Shapes: logits [S, V]; ids and values [S, B]; returns [S, V].
    """
    found = logits.copy()
    rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
    np.add.at(found, (rows, ids), values.astype(logits.dtype))
    return found


def penalised(logits: Logits, history: Ints, spans: Ints, last: Ints, penalties: Reals) -> Logits:
    """Make likelier or unlikelier what a row's context holds.

    A row's context is the first `spans[:, 0]` tokens of its history and then `last`; its prompt
    are the first `spans[:, 1]` tokens of that, its output the rest. Logits of ids in the context
    are divided by the repetition penalty, or multiplied where they are not positive; then ids of
    the output lose the frequency penalty for each time they are there, and the presence penalty.

    Shapes: logits [S, V]; history [S, H]; spans [S, 2]; last [S]; penalties [S, 3]: repetition,
        presence, frequency; returns [S, V].
    Source: arXiv 1909.05858 section 4.1 (repetition); OpenAI's API reference (the others).
    """
    found = logits.copy()
    for row, (num_known, num_prompt) in enumerate(spans.tolist()):
        repetition, presence, frequency = penalties[row].astype(logits.dtype)
        context = np.append(history[row, :num_known], last[row])
        seen = np.unique(context)
        own = found[row, seen]
        with np.errstate(divide="ignore", invalid="ignore"):
            found[row, seen] = np.where(own > 0, own / repetition, own * repetition)
        made, counts = np.unique(context[num_prompt:], return_counts=True)
        found[row, made] -= frequency * counts.astype(logits.dtype)
        found[row, made] -= presence
    return found


def truncated(logits: Logits, temperatures: Reals, top_k: Ints, cuts: Reals) -> Logits:
    """Forbid ids that are too unlikely: by min-p, then top-k, then top-p of what is left.

    With the softmax of logits / temperature: min-p keeps ids whose share is at least that part
    of the largest; top-k those with fewer than k likelier ones; top-p those whose likelier ones
    have a share, of all that are left, below p. A row with temperature 0 stays as it is.

    Shapes: logits [S, V]; temperatures [S]; top_k [S], 0 keeps all; cuts [S, 2]: top-p, of which
        1 keeps all, and min-p, of which 0 does; returns [S, V].
    Source: arXiv 2407.01082 (min-p), 1805.04833 (top-k), 1904.09751 (top-p).
    """
    found = logits.copy()
    for row in np.flatnonzero(temperatures).tolist():
        scores = logits[row].astype(np.float32) / np.float32(temperatures[row])
        found[
            row, ~is_kept(scores, int(top_k[row]), float(cuts[row, 0]), float(cuts[row, 1]))
        ] = -np.inf
    return found


def is_kept(
    scores: npt.NDArray[np.float32], top_k: int, top_p: float, min_p: float
) -> npt.NDArray[np.bool_]:
    """Tell which ids of one row are likely enough. Shapes: scores [V]; returns [V]."""
    shares = np.exp(scores.astype(np.float64) - float(scores.max(initial=-np.inf)))
    kept: npt.NDArray[np.bool_] = shares >= min_p
    order = np.argsort(-scores, kind="stable")
    # the place of the first id that is as likely as each one: how many are likelier
    ranked = scores[order]
    likelier = np.searchsorted(-ranked, -ranked, side="left")
    if top_k > 0:
        kept[order[likelier >= top_k]] = False
    if top_p < 1:
        left = np.where(kept, shares, 0.0)[order]
        above = np.concatenate([[0.0], np.cumsum(left)])[likelier]
        kept[order[above >= top_p * left.sum()]] = False
    return kept


def logprobs(logits: Reals) -> Floats:
    """Give the logarithm of each id's share of the softmax. Shapes: [..., V]; returns as given."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def most_likely(logits: Reals, count: int) -> tuple[Ints, Floats]:
    """Give the likeliest ids in order, the lower of equal ones first, and their logprobs.

    Shapes: logits [S, V]; returns [S, count] twice.
    """
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :count].astype(np.int32)
    return ids, np.take_along_axis(logprobs(logits), ids.astype(np.int64), axis=-1)
