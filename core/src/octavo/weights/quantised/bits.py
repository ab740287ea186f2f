"""Small numbers out of wide words, and the floats of four and six bits.

Knows no scheme: which way round a word is packed is said by who asks.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import Array

Codes = npt.NDArray[np.uint8]

E2M1 = np.array(
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0],
    np.float32,
)
"""All floats of four bits. Source: OCP Microscaling Formats 1.0, section 5.3.3."""

_E2M3_SIZES = np.append(np.arange(8) / 8, np.ldexp(1 + np.arange(24) % 8 / 8, np.arange(24) // 8))
E2M3 = np.append(_E2M3_SIZES, -_E2M3_SIZES).astype(np.float32)
"""All floats of six bits, three of them after the point. Source: the same, section 5.3.2."""


def unpacked(words: Array, bits: int, axis: int) -> Codes:
    """Give the numbers in 32-bit words along an axis, from the low bits of each up.

    Where a word does not hold a whole count of them, 32 of them take as many words as each has
    bits, and some stand across two words; the last words may be left out.

    Shapes: the axis grows by 32 / bits, up to a whole count of 32 where words are not even.
    """
    if axis in (-1, words.ndim - 1) and 8 % bits == 0:
        return _along(words, bits)
    moved = np.moveaxis(words.view(np.uint32), axis, 0)
    per, span = (32 // bits, 1) if 32 % bits == 0 else (32, bits)
    if short := -len(moved) % span:
        moved = np.append(moved, np.zeros((short, *moved.shape[1:]), np.uint32), axis=0)
    runs = moved.reshape(-1, span, *moved.shape[1:])
    found = np.empty((len(runs), per, *moved.shape[1:]), np.uint8)
    mask = np.uint32((1 << bits) - 1)
    for index in range(per):
        word, bit = divmod(index * bits, 32)
        value = runs[:, word] >> np.uint32(bit)
        if bit + bits > 32:
            value |= runs[:, word + 1] << np.uint32(32 - bit)
        found[:, index] = value & mask
    return np.moveaxis(found.reshape(-1, *moved.shape[1:]), 0, axis)


def _along(words: Array, bits: int) -> Codes:
    """Give the numbers in words along the last axis, where none stands across two bytes.

    A look into a table gives all numbers of a byte at once.
    """
    stored = np.ascontiguousarray(words, "<i4").view(np.uint8)
    return stored if bits == 8 else _in_byte(bits)[stored].view(np.uint8)


@functools.cache
def _in_byte(bits: int) -> Array:
    """Write down, for each byte, the numbers in it, as one word of a byte for each."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = (np.arange(256, dtype=np.uint8)[:, np.newaxis] >> places) & ((1 << bits) - 1)
    return numbers.astype(np.uint8).view(f"u{len(places)}").reshape(256)


def fours(stored: Array) -> npt.NDArray[np.float32]:
    """Give the floats of four bits in bytes along the last axis, the low half of each first."""
    codes = stored.view(np.uint8)
    found = np.empty((*codes.shape, 2), np.float32)
    found[..., 0] = E2M1[codes & 15]
    found[..., 1] = E2M1[codes >> 4]
    return found.reshape(*codes.shape[:-1], 2 * codes.shape[-1])


def sixes(stored: Array) -> npt.NDArray[np.float32]:
    """Give the floats of six bits in bytes along the last axis, the low bits of each first.

    Shapes: the axis, of a whole count of 24 bytes, grows by a third.
    """
    found: npt.NDArray[np.float32] = E2M3[unpacked(_words(stored), 6, -1)]
    return found


def _words(stored: Array) -> Array:
    return np.ascontiguousarray(stored).view("<i4")


def powers(stored: Array) -> npt.NDArray[np.float32]:
    """Give the powers of two that bytes stand for; 255 is no number.

    Source: OCP Microscaling Formats 1.0, section 5.4.1.
    """
    sizes = np.ldexp(np.float32(1), np.minimum(stored, 254).astype(np.int32) - 127)
    return np.where(stored == 255, np.float32(np.nan), sizes.astype(np.float32))
