"""Cuts by how likely an id is, with numpy, whose sort here beats thirty passes over a row.

Most rows are decided by a few ids: the likeliest thousand are looked at first, and a whole row
only where these do not reach the share that is asked for.

Knows nothing of which specs it is asked for (`overrides`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from octavo_platforms.platform import Kernel

FIRST_LOOK = 1024

Floats = npt.NDArray[np.float32]


def truncate() -> Kernel:
    """Make the cut of the rows that ask for one."""

    def run(logits: Tensor, settings: Tensor, seats: Tensor, top_k: Tensor, cuts: Tensor) -> Tensor:
        words = settings.view(torch.int32).index_select(0, seats)
        temperatures = words[:, 0].contiguous().view(torch.float32)
        is_cut = (temperatures > 0) & ((top_k > 0) | (cuts[:, 0] < 1) | (cuts[:, 1] > 0))
        rows = is_cut.nonzero()[:, 0].tolist()
        if not rows:
            return logits
        found = logits.clone()
        for row in rows:
            scores = logits[row].numpy() / temperatures[row].numpy()
            top_p, min_p = cuts[row].tolist()
            least = least_score(scores, int(top_k[row]), top_p, min_p)
            found[row].masked_fill_(torch.from_numpy(scores < least), float("-inf"))
        return found

    return Kernel(name="cpu.truncate_logits", run=run)


def least_score(scores: Floats, top_k: int, top_p: float, min_p: float) -> np.float32:
    """Give the least score that stays. Shapes: scores [V]."""
    largest = scores.max()
    least = np.float32(-np.inf)
    if min_p > 0:
        shares = np.exp(scores - largest)
        least = scores[shares >= np.float32(min_p)].min()
    if 0 < top_k < len(scores):
        least = max(least, np.partition(scores, len(scores) - top_k)[-top_k])
    if top_p < 1:
        left = scores if least == -np.inf else scores[scores >= least]
        least = max(least, _least_of_nucleus(left, largest, top_p))
    return least


def _least_of_nucleus(scores: Floats, largest: np.float32, top_p: float) -> np.float32:
    limit = top_p * float(np.exp(scores - largest).sum(dtype=np.float64))
    count = len(scores)
    if count > FIRST_LOOK:
        likeliest = np.partition(scores, count - FIRST_LOOK)[-FIRST_LOOK:]
        found = _reaching(likeliest, largest, limit)
        if found is not None:
            return found
    found = _reaching(scores, largest, limit)
    return scores.min() if found is None else found


def _reaching(scores: Floats, largest: np.float32, limit: float) -> np.float32 | None:
    """Give the least of some scores whose likelier ones stay below a share.

    None where all do, so that a less likely one may too.
    """
    ranked = np.sort(scores)[::-1]
    reached = np.cumsum(np.exp(ranked - largest), dtype=np.float64)
    place = int(np.searchsorted(reached, limit, side="left"))
    return ranked[place] if place < len(ranked) else None
