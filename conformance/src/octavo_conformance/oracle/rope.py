"""Rotary positions: a table of angles, and turning pairs of features by it.

Knows nothing of heads' meaning: queries and keys turn alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo_conformance.oracle.values import Floats, Ints


def rope_table(positions: Ints, frequencies: npt.ArrayLike, *, factor: float) -> Floats:
    """Give cosines, then sines, of each position's angles, times a factor.

    Shapes: positions [T]; frequencies [D/2]; returns [T, D].
    Dtypes: an angle is the float32 product of a position and a float32 frequency, rounded
        once, as models are trained with; only what is made of it is float64.
    """
    angles = positions.astype(np.float32)[:, None] * np.asarray(frequencies, np.float32)
    wide = angles.astype(np.float64)
    return np.concatenate([np.cos(wide), np.sin(wide)], axis=-1) * factor


def rotary(x: Floats, table: Floats, *, interleaved: bool) -> Floats:
    """Turn the first D' features of each head, pair by pair; the rest stays.

    Shapes: x [T, H, D]; table [T, D'], D' <= D; returns [T, H, D].
    Source: arXiv 2104.09864. Half-split pairs i with i + D'/2, interleaved 2i with 2i + 1.
    """
    width = table.shape[-1]
    cosine, sine = (part[:, None, :] for part in np.split(table, 2, axis=-1))
    if interleaved:
        first, second = slice(0, width, 2), slice(1, width, 2)
    else:
        first, second = slice(0, width // 2), slice(width // 2, width)
    turned = x.copy()
    turned[..., first] = x[..., first] * cosine - x[..., second] * sine
    turned[..., second] = x[..., second] * cosine + x[..., first] * sine
    return turned
