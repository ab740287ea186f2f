"""Scales laid over the numbers that they belong to: for a tensor, rows, groups of a row, or blocks.

Knows nothing of what the numbers are.
"""

from __future__ import annotations

import numpy as np

from octavo.weights.quantised.scheme import Floats, Rows

Shape = tuple[int, ...]
Block = tuple[int, int]


def fits(scale: Shape, shape: Shape, block: Block | None) -> bool:
    """Tell whether scales of a shape can be laid over numbers of another."""
    return _seen(scale, shape, block) is not None


def spread(scale: Floats, shape: Shape, block: Block | None = None) -> Rows:
    """Lay scales over numbers: the result broadcasts to a run of their rows.

    Shapes: numbers [..., N, K]; scales [] or [1], [..., N], [..., N, G], one for each of the
        first axis, or, where a block is given, [..., N / block[0], K / block[1]], rounded up.
    """
    seen = _seen(scale.shape, shape, block)
    assert seen is not None, (scale.shape, shape)  # who asks has asked `fits`
    laid, (high, wide) = scale.reshape(seen), block_of(seen, shape, block)

    def rows(start: int, stop: int) -> Floats:
        if len(shape) > 2:
            part = laid[start:stop] if len(laid) > 1 else laid
            part = np.repeat(part, high, axis=-2)[..., : shape[-2], :] if high > 1 else part
        elif len(laid) == 1:
            part = laid
        else:
            part = laid[np.arange(start, stop) // high]
        return np.repeat(part, wide, axis=-1)[..., : shape[-1]] if wide > 1 else part

    return rows


def scaled_in_groups(codes: Floats, zeros: Floats, scale: Floats) -> Floats:
    """Take zeros from codes whose groups lie one below the other, and scale them.

    Shapes: codes [K, N]; zeros and scale [G, N], where G divides K.
    Effects: writes codes, where they lie one after the other.
    """
    grouped = codes.reshape(len(scale), -1, codes.shape[1])
    grouped -= zeros[:, np.newaxis]
    grouped *= scale[:, np.newaxis]
    return grouped.reshape(codes.shape)


def block_of(seen: Shape, shape: Shape, block: Block | None) -> Block:
    """Give how many rows and columns share a scale, 1 for an axis that broadcasts by itself."""
    if seen[-1] == 1 and (len(seen) < 2 or seen[-2] in (1, shape[-2])):
        return 1, 1
    if block is not None and _is_blocks(seen, shape, block):
        return block
    return 1, shape[-1] // seen[-1]


def _seen(scale: Shape, shape: Shape, block: Block | None) -> Shape | None:
    """Give the scales' shape with as many axes as the numbers have; None where they do not fit."""
    if all(size == 1 for size in scale):
        return (1,) * len(shape)
    if block is not None and _is_blocks(scale, shape, block):
        return scale
    if scale == shape[:-1]:
        return (*scale, 1)
    if len(scale) == 1 and len(shape) > 2 and scale[0] == shape[0]:
        return (*scale, *[1] * (len(shape) - 1))
    rows_fit = len(scale) == len(shape) and all(
        found in (1, size) for found, size in zip(scale[:-1], shape[:-1], strict=True)
    )
    return scale if rows_fit and scale[-1] and shape[-1] % scale[-1] == 0 else None


def _is_blocks(scale: Shape, shape: Shape, block: Block) -> bool:
    high, wide = (-(-size // part) for size, part in zip(shape[-2:], block, strict=True))
    return len(shape) > 1 and scale == (*shape[:-2], high, wide)
