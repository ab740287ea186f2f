"""Choosing tokens: the largest logit, or the largest after noise.

Scores are float32, as the op says, because their bits decide; only the logarithms of the
noise are float64, rounded once. Knows nothing of batches: a row's token depends on its
logits, its seat's settings and its position.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo_conformance.oracle.values import Floats, Ints, Words
from octavo_platforms.philox import gumbel


def sample(logits: Floats, seat_sampling: Words, seats: Ints, positions: Ints) -> Ints:
    """Choose a token for each row. Shapes: [S, V], [N, 3], [S], [S]; returns [S]."""
    found = np.zeros(len(seats), np.int32)
    for row, (seat, position) in enumerate(zip(seats, positions, strict=True)):
        each = scores(logits[row], seat_sampling[seat], int(position))
        found[row] = np.argmax(each) if np.isfinite(each.max()) else -1
    return found


def scores(logits: Floats, settings: Words, position: int) -> npt.NDArray[np.float32]:
    """Give what the largest of wins, for a token after `position`. Shapes: [V], [3]; [V]."""
    temperature = settings[:1].view(np.float32)[0]
    narrow = logits.astype(np.float32)
    if temperature == 0:
        return narrow
    seed = np.uint64(int(settings[1]) | int(settings[2]) << 32)
    noise = gumbel(seed, position + 1, len(logits))
    disturbed: npt.NDArray[np.float32] = narrow / temperature + noise
    return disturbed
