"""ALiBi: how steeply each head's scores fall with distance, in place of positions of any kind.

With a power of two of heads, slopes are powers of each other, down to 2**-steepest. With others,
heads have those of the next power of two: every second one first, and as many of the rest as there
are heads left.
Source: arXiv 2108.12409, section 3 and its authors' code for other numbers of heads.

Knows no family, and not what slopes are multiplied by (`attention` of the contract).
"""

from __future__ import annotations

STEEPEST = 8.0


def slopes(heads: int, *, steepest: float = STEEPEST) -> tuple[float, ...]:
    """Give each head's slope. Units: of a score, for each position."""
    around = 1 << (heads - 1).bit_length()
    found = [2.0 ** (-steepest * (head + 1) / around) for head in range(around)]
    if around == heads:
        return tuple(found)
    return (*found[1::2], *found[::2])[:heads]
