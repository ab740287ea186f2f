"""Runs: pieces of a table's rows, of different lengths, read or written at one go.

    rows [2, 5], first [1, 0], counts [2, 3]   ->   (2,1) (2,2) (5,0) (5,1) (5,2)

Knows nothing of what the table holds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo_platforms.inputs import Ints

Places = npt.NDArray[np.intp]


def runs(rows: Ints | Places, first: Ints, counts: Ints) -> tuple[Places, Places]:
    """Give the index of `counts` entries of each row, from the entry `first` on.

    Shapes: all [G]; returns two arrays [the sum of counts], rows and places.
    """
    if (counts == 1).all():
        return rows.astype(np.intp, copy=False), first.astype(np.intp, copy=False)
    starts = np.cumsum(counts) - counts
    places = np.arange(int(counts.sum())) + np.repeat(first - starts, counts)
    return np.repeat(rows, counts).astype(np.intp), places.astype(np.intp)
