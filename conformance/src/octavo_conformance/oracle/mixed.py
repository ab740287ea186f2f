"""Rows among token embeddings, and rotary positions on several axes.

Knows nothing of images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo_conformance.oracle.rope import rope_table
from octavo_conformance.oracle.values import Floats, Ints


def mix_rows(x: Floats, source: Ints, kept: Floats) -> Floats:
    """Take kept rows where a source names one. Shapes: x [T, E]; source [T]; kept [N, E]."""
    found = x.copy()
    for token, row in enumerate(source):
        if row:
            found[token] = kept[row]
    return found


def rope_sections(
    positions: Ints,
    offsets: Ints,
    frequencies: npt.ArrayLike,
    *,
    factor: float,
    sections: tuple[int, ...],
) -> Floats:
    """Give the table whose frequencies follow places on several axes.

    Shapes: positions [T]; offsets [A, T]; frequencies [D/2], as sections; returns [T, D].
    Source: arXiv 2409.12191 section 2.1.
    """
    tables = [rope_table(positions + each, frequencies, factor=factor) for each in offsets]
    columns = np.arange(2 * len(sections))
    axes = np.tile(np.array(sections), 2)
    return np.stack(tables)[axes, :, columns].T
