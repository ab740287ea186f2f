"""Formats of numbers that no device is asked to know, widened exactly when they are read.

A float of eight bits is one of 256 numbers, each of which bfloat16 can write, so that widening is
a look into a table. Integers of 16 bits become 32 wide.

Knows nothing of files; what scales a number, a tensor of its own, is not applied here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import Array, DType, HostTensor, cast, host

Bits = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Narrow:
    """A stored format: the numpy dtype of its bits, and what it becomes."""

    stored: np.dtype[np.generic]
    dtype: DType
    widen: Callable[[Array], HostTensor]


def _floats(exponent_bits: int, bias: int, *, has_infinity: bool) -> npt.NDArray[np.float32]:
    """Write down all 256 floats of a format of eight bits.

    Source: arXiv 2209.05433; without infinity, the largest magnitude alone is no number.
    """
    codes = np.arange(256)
    fraction_bits = 7 - exponent_bits
    exponent = (codes & 0x7F) >> fraction_bits
    fraction = (codes & ((1 << fraction_bits) - 1)) / (1 << fraction_bits)
    size = np.where(
        exponent == 0,
        np.ldexp(fraction, 1 - bias),
        np.ldexp(1 + fraction, exponent - bias),
    )
    if has_infinity:
        last = exponent == (1 << exponent_bits) - 1
        size = np.where(last, np.where(fraction == 0, np.inf, np.nan), size)
    else:
        size = np.where((codes & 0x7F) == 0x7F, np.nan, size)
    return np.where(codes >= 128, -size, size).astype(np.float32)


def _powers() -> npt.NDArray[np.float32]:
    """Write down the scales of the OCP Microscaling formats: powers of two, the last no number."""
    powers = np.ldexp(np.ones(255), np.arange(255) - 127)
    return np.append(powers, np.nan).astype(np.float32)


_TABLES: Mapping[str, Callable[[], npt.NDArray[np.float32]]] = MappingProxyType(
    {
        "F8_E4M3": lambda: _floats(4, 7, has_infinity=False),
        "F8_E5M2": lambda: _floats(5, 15, has_infinity=True),
        "F8_E8M0": _powers,
    }
)


@functools.cache
def _table(kind: str) -> Bits:
    bits: Bits = cast(host(_TABLES[kind]()), "bfloat16").array.view(np.uint16)
    return bits


def _by_table(kind: str) -> Narrow:
    return Narrow(
        np.dtype(np.uint8),
        "bfloat16",
        lambda codes: HostTensor(np.asarray(_table(kind)[codes]), "bfloat16"),
    )


NARROW: Mapping[str, Narrow] = MappingProxyType(
    {
        **{kind: _by_table(kind) for kind in _TABLES},
        "I16": Narrow(np.dtype(np.int16), "int32", lambda found: host(found.astype(np.int32))),
    }
)
