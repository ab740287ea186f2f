"""GPTQ: codes of 2, 3, 4 or 8 bits, packed along the inputs of a linear layer.

    weight[n, k] = (code[k, n] - zero[g, n]) * scale[g, n]          g = g_idx[k], else k // size

Version 1 stores each zero less one, and 0 as all ones. How many bits a layer has shows in its
shapes, so that rules which give some layers more need not be read. Of which version a file is
shows in it only where zeros are known beforehand, which symmetric ones are.

Source: arXiv 2210.17323; AutoGPTQ, `qlinear_cuda_old`; GPTQModel, "checkpoint_format".
Knows nothing of how codes were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from octavo.errors import ModelError
from octavo.models.reading import flag, whole
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import unpacked
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
    present,
    scales,
    stems,
    unknown,
)
from octavo.weights.quantised.spread import scaled_in_groups

_FORMATS = ("gptq", "gptq_v2")
_BITS = (2, 3, 4, 8)


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in GPTQ's form."""
    said = _said(config)
    made = {f"{stem}.weight": _made(source, stem, said) for stem in stems(source, ".qweight")}
    return Scheme(f"GPTQ, codes of {said.bits} bits" if said.bits else "GPTQ", made)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a config says: no group size where all inputs are in one, and maybe nothing of bits."""

    bits: int | None
    group_size: int | None
    form: str
    is_ordered: bool
    is_symmetric: bool

    @property
    def less(self) -> int:
        """Give by how much stored zeros are less than what they stand for."""
        return 1 if self.form == "gptq" else 0


@dataclass(frozen=True, slots=True)
class _Layer:
    """What the shapes of a layer say, and how many inputs a group has where nothing lists them."""

    n_out: int
    n_in: int
    bits: int
    size: int


def _said(config: Config) -> _Said:
    given = config.get("checkpoint_format", config.get("format", "gptq"))
    given = "marlin" if config.get("is_marlin_format") else given
    if given not in _FORMATS:
        raise unknown("checkpoint_format", given, "GPTQ", _FORMATS)
    bits = config.get("bits")
    if bits not in (None, *_BITS):
        raise unknown("bits", bits, "GPTQ", _BITS)
    size = None if config.get("group_size") in (None, -1) else whole(config, "group_size")
    return _Said(
        bits=bits if isinstance(bits, int) else None,
        group_size=size,
        form=str(given),
        is_ordered=flag(config, "desc_act", default=False),
        is_symmetric=flag(config, "sym", default=False),
    )


def _made(source: FileSource, stem: str, said: _Said) -> Made:
    weight, zero, scale = (f"{stem}.{part}" for part in ("qweight", "qzeros", "scales"))
    need(source, "GPTQ", weight, zero, scale)
    need_dtype(source, "GPTQ", WORDS, weight, zero)
    need_dtype(source, "GPTQ", FLOATS, scale)
    if said.is_ordered and source.shape(scale)[:1] != (1,):
        need(source, "GPTQ with desc_act", weight, f"{stem}.g_idx")
    index = present(source, f"{stem}.g_idx")
    need_dtype(source, "GPTQ", (*WORDS, "int64"), *index)
    layer = _layer([source.shape(each) for each in (weight, zero, scale, *index)], said)
    if layer is None:
        raise misfit(source, "GPTQ", weight, zero, scale, *index, expected=_expected(said))
    opened = partial(_open, source, stem, layer, said)
    return Made((layer.n_out, layer.n_in), (weight, zero, scale, *index), opened)


def _expected(said: _Said) -> str:
    size = f"a group_size of {said.group_size}" if said.group_size else "one group (no group_size)"
    return (
        f"[K * bits / 32, N], [G, N * bits / 32] and [G, N], of K inputs with {size}, or with a "
        "g_idx [K]"
    )


def _layer(shapes: Sequence[tuple[int, ...]], said: _Said) -> _Layer | None:
    """Read a layer off the shapes of its parts; None where they do not fit."""
    match shapes:
        case [(words, n_out), (as_many, across), (groups, found_out), *index]:
            bits = next((each for each in _BITS if -(-n_out * each // 32) == across), None)
        case _:
            return None
    if bits is None or (as_many, found_out) != (groups, n_out) or any(len(i) != 1 for i in index):
        return None
    n_in = index[0][0] if index else words * 32 // bits
    size = said.group_size or n_in
    is_whole = bool(index) or -(-n_in // max(1, size)) == groups
    is_fit = is_whole and 0 <= words * 32 - n_in * bits < 32 * bits
    return _Layer(n_out, n_in, bits, size) if is_fit else None


def _open(source: FileSource, stem: str, layer: _Layer, said: _Said) -> Rows:
    words, scale = array(source, f"{stem}.qweight"), scales(source, f"{stem}.scales")
    bits, n_in, size = layer.bits, layer.n_in, layer.size
    stored = unpacked(array(source, f"{stem}.qzeros"), bits, 1)[:, : scale.shape[1]]
    zeros = ((stored + np.uint8(said.less)) & np.uint8((1 << bits) - 1)).astype(np.float32)
    if said.is_symmetric:
        _check_version(source, f"{stem}.qzeros", zeros, 1 << (bits - 1), said)
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


def _check_version(source: FileSource, name: str, zeros: Floats, half: int, said: _Said) -> None:
    """Refuse a symmetric layer whose zeros stand beside the middle by what the versions differ."""
    beside = half + (1 if said.less else -1)
    if zeros.size and (zeros == beside).all():
        raise ModelError(
            f"{source.file_of(name)}: in the checkpoint_format '{said.form}' the zeros '{name}' "
            f"are {beside}, but a symmetric layer's are {half}. It is stored in the other one of "
            f"{', '.join(_FORMATS)}: write that one into config.json."
        )


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
