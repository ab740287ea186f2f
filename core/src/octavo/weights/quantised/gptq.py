"""GPTQ: codes of 2, 3, 4 or 8 bits, packed along the inputs of a linear layer.

    weight[n, k] = (code[k, n] - zero[g, n]) * scale[g, n]          g = g_idx[k], else k // size

Version 1 stores each zero less one, and 0 as all ones. How many bits a layer has shows in its
shapes, so that rules which give some layers more need not be read.

Source: arXiv 2210.17323; AutoGPTQ, `qlinear_cuda_old`; GPTQModel, "checkpoint_format".
Knows nothing of how codes were found.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from octavo.errors import ModelError
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import unpacked
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
    present,
    scales,
    stems,
)
from octavo.weights.quantised.spread import scaled_in_groups

_FORMATS = ("gptq", "gptq_v2")
_BITS = (2, 3, 4, 8)


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in GPTQ's form."""
    given = config.get("checkpoint_format", "gptq")
    if given not in _FORMATS or config.get("is_marlin_format"):
        raise ModelError(
            f"config.json: the checkpoint_format '{given}' of GPTQ is not built; known: "
            f"{', '.join(_FORMATS)}. Use a checkpoint in one of these."
        )
    size = config.get("group_size", -1)
    less = 1 if given == "gptq" else 0
    made = {
        f"{stem}.weight": _made(source, stem, size if isinstance(size, int) else -1, less)
        for stem in stems(source, ".qweight")
    }
    bits = config.get("bits")
    return Scheme(f"GPTQ, codes of {bits} bits" if bits else "GPTQ", made)


def _made(source: FileSource, stem: str, group_size: int, less: int) -> Made:
    weight, zero, scale = (f"{stem}.{part}" for part in ("qweight", "qzeros", "scales"))
    need(source, "GPTQ", weight, zero, scale)
    index = present(source, f"{stem}.g_idx")
    need_axes(source, "GPTQ", 2, weight, zero, scale)
    (words, n_out), (groups, found_out) = source.shape(weight), source.shape(scale)
    bits = _bits(source.shape(zero), n_out)
    if bits is None or found_out != n_out or source.shape(zero)[0] != groups:
        raise misfit(source, "GPTQ", weight, zero, scale)
    n_in = source.shape(index[0])[0] if index else words * 32 // bits
    size = group_size if group_size > 0 else n_in
    if not 0 <= words * 32 - n_in * bits < 32 * bits or (not index and -(-n_in // size) != groups):
        raise misfit(source, "GPTQ", weight, zero, scale, *index)
    opened = partial(_open, source, stem, bits=bits, less=less, n_in=n_in, size=size)
    return Made((n_out, n_in), (weight, zero, scale, *index), opened)


def _bits(zeros: tuple[int, ...], n_out: int) -> int | None:
    return next((bits for bits in _BITS if -(-n_out * bits // 32) == zeros[1]), None)


def _open(source: FileSource, stem: str, *, bits: int, less: int, n_in: int, size: int) -> Rows:
    words, scale = array(source, f"{stem}.qweight"), scales(source, f"{stem}.scales")
    stored = unpacked(array(source, f"{stem}.qzeros"), bits, 1)[:, : scale.shape[1]]
    zeros = ((stored + np.uint8(less)) & np.uint8((1 << bits) - 1)).astype(np.float32)
    groups = _groups(source, stem, len(scale), n_in, size)
    is_even = len(scale) * size == n_in and np.array_equal(groups, np.arange(n_in) // size)

    def rows(start: int, stop: int) -> Floats:
        found = unpacked(words[:, start:stop], bits, 0)[:n_in].astype(np.float32)
        less, by = zeros[:, start:stop], scale[:, start:stop]
        if is_even:
            return scaled_in_groups(found, less, by).T
        found -= less[groups]
        found *= by[groups]
        return found.T

    return rows


def _groups(
    source: FileSource, stem: str, num_groups: int, n_in: int, size: int
) -> npt.NDArray[np.intp]:
    for name in present(source, f"{stem}.g_idx"):
        found = array(source, name).astype(np.intp)
        if found.min(initial=0) < 0 or found.max(initial=0) >= num_groups:
            raise ModelError(
                f"{source.file_of(name)}: '{name}' names groups from {found.min()} to "
                f"{found.max()}, but there are {num_groups}. Fetch the file again."
            )
        return found
    return np.arange(n_in, dtype=np.intp) // size
