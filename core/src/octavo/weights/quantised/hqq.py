"""HQQ: codes of 1, 2, 3, 4 or 8 bits, with a scale and a zero for each group of numbers.

    weight = (code - zero) * scale

Axis 1: the weight is seen as rows of a group each; axis 0: as columns of one. Of packed codes,
the first part of all rows stands in the high bits of the bytes, the last in the low ones; ten of
3 bits stand in a word of 32, where the last part may be short.

Source: mobiusml/hqq, `core/quantize.py` (`HQQLinear.state_dict`) and `core/bitpack.py`.
Knows nothing of how codes were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from types import MappingProxyType

import numpy as np

from octavo.errors import ModelError
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import Codes
from octavo.weights.quantised.scheme import (
    FLOATS,
    Config,
    Floats,
    Made,
    Rows,
    Scheme,
    array,
    misfit,
    need,
    need_dtype,
    scales,
    stems,
)
from octavo_platforms.tensor import Array

_PER_STORED: Mapping[int, int] = MappingProxyType({1: 8, 2: 4, 3: 10, 4: 2, 8: 1})
"""How many codes stand together, by their bits: ten of 3 bits in a word, the others in bytes."""


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in HQQ's form."""
    return Scheme("HQQ", {f"{stem}.weight": _made(source, stem) for stem in stems(source, ".W_q")})


def _made(source: FileSource, stem: str) -> Made:
    parts = code, scale, zero, *said = (
        f"{stem}.{part}" for part in ("W_q", "scale", "zero", "shape", "nbits", "axis")
    )
    del parts
    need(source, "HQQ", code, scale, zero, *said)
    need_dtype(source, "HQQ", FLOATS, scale, zero)
    if any(prod(source.shape(name)) != 1 for name in said[1:]) or not source.shape(code):
        raise misfit(source, "HQQ", code, *said[1:], expected="codes, and one number of each")
    shape = tuple(int(size) for size in array(source, said[0]).reshape(-1))
    bits, axis = (int(array(source, name).reshape(-1)[0]) for name in said[1:])
    groups = max(1, prod(source.shape(scale)))
    is_known = bits in _PER_STORED and source.dtype(code) == ("int32" if bits == 3 else "uint8")
    if not is_known or axis not in (0, 1):
        raise ModelError(
            f"{source.file_of(code)}: '{code}' holds codes of {bits} bits along axis {axis} as "
            f"{source.dtype(code)}; known for HQQ: 1, 2, 4 and 8 bits in bytes, 3 in "
            "words, axis 0 or 1. Use a checkpoint in this form."
        )
    held, row = source.shape(code), prod(source.shape(code)[1:])
    short = held[0] * row * _PER_STORED[bits] - prod(shape)
    if not 0 <= short < (10 * row if bits == 3 else 1) or prod(shape) % groups:
        expected = f"{prod(shape)} codes of {bits} bits, in groups of one size with a scale each"
        raise misfit(source, f"HQQ of the shape {list(shape)}", code, scale, expected=expected)
    if source.shape(zero) != source.shape(scale):
        raise misfit(source, "HQQ", scale, zero, expected="a zero for each scale")
    own = tuple(name for name in source.names() if _is_own(name, stem))
    return Made(shape, own, partial(_open, source, stem, bits, axis, shape))


def _is_own(name: str, stem: str) -> bool:
    return name.startswith(f"{stem}.") and name != f"{stem}.bias"


def _open(source: FileSource, stem: str, bits: int, axis: int, shape: tuple[int, ...]) -> Rows:
    codes = _codes(array(source, f"{stem}.W_q"), bits)
    scale = scales(source, f"{stem}.scale").reshape(-1)
    zero = scales(source, f"{stem}.zero").reshape(-1)
    columns, size = prod(shape[1:]), prod(shape) // len(scale)

    def rows(start: int, stop: int) -> Floats:
        places = np.arange(start * columns, stop * columns)
        groups = places // size if axis == 1 else places % len(scale)
        found = codes[start * columns : stop * columns].astype(np.float32)
        found -= zero[groups]
        found *= scale[groups]
        return found.reshape(stop - start, *shape[1:])

    return rows


def _codes(stored: Array, bits: int) -> Codes:
    whole = stored.view("u4" if bits == 3 else "u1")
    shifts = range((_PER_STORED[bits] - 1) * bits, -1, -bits)
    parts = [((whole >> shift) & ((1 << bits) - 1)).astype(np.uint8) for shift in shifts]
    return np.concatenate(parts).reshape(-1)
