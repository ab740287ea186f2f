"""AWQ in its GEMM form: codes of 4 bits, packed along the outputs of a linear layer.

    weight[n, k] = (code[k, n] - zero[g, n]) * scale[g, n]          g = k // size

A word holds eight outputs in the order 0 2 4 6 1 3 5 7, from its low bits up; zeros are packed
alike, and stored as they are.

Source: arXiv 2306.00978; AutoAWQ, `WQLinear_GEMM.from_linear`.
Knows nothing of how codes were found.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from octavo.errors import ModelError
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import Codes, unpacked
from octavo.weights.quantised.scheme import (
    Config,
    Floats,
    Made,
    Rows,
    Scheme,
    array,
    misfit,
    need,
    need_axes,
    scales,
    stems,
)
from octavo.weights.quantised.spread import scaled_in_groups
from octavo_platforms.tensor import Array

_BITS, _PER_WORD = 4, 8
_PLACE_OF = [0, 4, 1, 5, 2, 6, 3, 7]  # of each output in its word


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in AWQ's form."""
    version = str(config.get("version", "gemm")).lower()
    bits = config.get("bits", config.get("w_bit", _BITS))
    if version != "gemm" or bits != _BITS:
        raise ModelError(
            f"config.json: AWQ in the version '{version}' with {bits} bits is not built; known: "
            f"gemm with {_BITS} bits. Use a checkpoint in this form."
        )
    made = {f"{stem}.weight": _made(source, stem) for stem in stems(source, ".qweight")}
    return Scheme(f"AWQ, codes of {_BITS} bits", made)


def _made(source: FileSource, stem: str) -> Made:
    names = weight, zero, scale = tuple(
        f"{stem}.{part}" for part in ("qweight", "qzeros", "scales")
    )
    need(source, "AWQ", *names)
    need_axes(source, "AWQ", 2, *names)
    (n_in, words), (groups, n_out) = source.shape(weight), source.shape(scale)
    if words * _PER_WORD != n_out or source.shape(zero) != (groups, words) or n_in % groups:
        raise misfit(source, "AWQ", *names)
    return Made((n_out, n_in), names, partial(_open, source, stem))


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
