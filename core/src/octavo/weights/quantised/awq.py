"""AWQ in its GEMM form: codes of 4 bits, packed along the outputs of a linear layer.

    weight[n, k] = (code[k, n] - zero[g, n]) * scale[g, n]          g = k // size

A word holds eight outputs in the order 0 2 4 6 1 3 5 7, from its low bits up; zeros are packed
alike, and stored as they are.

How many inputs share a scale shows in the shapes.

Source: arXiv 2306.00978; AutoAWQ, `WQLinear_GEMM.from_linear`.
Knows nothing of how codes were found.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import Codes, unpacked
from octavo.weights.quantised.scheme import (
    FLOATS,
    WORDS,
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
    unknown,
)
from octavo.weights.quantised.spread import scaled_in_groups
from octavo_platforms.tensor import Array

_BITS, _PER_WORD = 4, 8
_PLACE_OF = [0, 4, 1, 5, 2, 6, 3, 7]  # of each output in its word


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in AWQ's form."""
    for key in ("version", "format", "checkpoint_format"):
        if str(config.get(key, "gemm")).lower() != "gemm":
            raise unknown(key, config[key], "AWQ", ("gemm",))
    bits = config.get("bits", config.get("w_bit", _BITS))
    if bits != _BITS:
        raise unknown("bits", bits, "AWQ", (_BITS,))
    made = {f"{stem}.weight": _made(source, stem) for stem in stems(source, ".qweight")}
    return Scheme(f"AWQ, codes of {_BITS} bits", made)


def _made(source: FileSource, stem: str) -> Made:
    names = weight, zero, scale = tuple(
        f"{stem}.{part}" for part in ("qweight", "qzeros", "scales")
    )
    need(source, "AWQ", *names)
    need_dtype(source, "AWQ", WORDS, weight, zero)
    need_dtype(source, "AWQ", FLOATS, scale)
    match source.shape(weight), source.shape(zero), source.shape(scale):
        case (n_in, words), zeros, (groups, n_out) if (
            words * _PER_WORD == n_out
            and zeros == (groups, words)
            and groups * n_in
            and not n_in % groups
        ):
            return Made((n_out, n_in), names, partial(_open, source, stem))
    expected = "[K, N / 8], [G, N / 8] and [G, N], where G divides K"
    raise misfit(source, "AWQ", *names, expected=expected)


def _open(source: FileSource, stem: str) -> Rows:
    words, scale = array(source, f"{stem}.qweight"), scales(source, f"{stem}.scales")
    zeros = _codes(array(source, f"{stem}.qzeros")).astype(np.float32)

    def rows(start: int, stop: int) -> Floats:
        first = start // _PER_WORD
        codes = _codes(words[:, first : -(-stop // _PER_WORD)])
        found = codes[:, start - first * _PER_WORD :][:, : stop - start].astype(np.float32)
        return scaled_in_groups(found, zeros[:, start:stop], scale[:, start:stop]).T

    return rows


def _codes(words: Array) -> Codes:
    packed = unpacked(words, _BITS, 1).reshape(len(words), -1, _PER_WORD)
    return packed[..., _PLACE_OF].reshape(len(words), -1)
