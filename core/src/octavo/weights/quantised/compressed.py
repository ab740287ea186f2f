"""compressed-tensors: integers packed or plain, and floats of eight, six and four bits.

    packed      weight = (code - 2 ** (bits - 1) - zero) * scale      codes along a row, in words
    plain       weight = (code - zero) * scale                        int8 or fp8

Scales are for a tensor, a row, groups of a row or blocks. Which layers are left out shows in what
is stored. Packed zeros are packed along the rows of the layer, less as much as codes.

Source: github.com/vllm-project/compressed-tensors, `compressors`.
Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import prod

import numpy as np

from octavo.models.reading import mapping
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import unpacked
from octavo.weights.quantised.fours import packed
from octavo.weights.quantised.scaled import check_scaled, scaled
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
from octavo.weights.quantised.spread import Block, fits, spread
from octavo_platforms.tensor import HostTensor, to_float

_FORMATS = (
    "dense",
    "naive-quantized",
    "int-quantized",
    "float-quantized",
    "pack-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mxfp6-pack-quantized",
    "mxfp8-quantized",
    "mixed-precision",
)
_BITS = tuple(range(1, 9))
_WORD, _SCALE, _SHAPE = ".weight_packed", ".weight_scale", ".weight_shape"


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in one of the forms."""
    groups = list(_groups(config))
    for each in [config, *groups]:
        _check_format(each)
    size = _group_size(groups)
    made = {f"{stem}.weight": _packed(source, stem, size) for stem in stems(source, _WORD)}
    made |= scaled(source, _block(groups), without=made)
    check_scaled(source, made)
    kinds = sorted({_kind(each, "weights") for each in groups} - {""})
    inputs = sorted({_kind(each, "input_activations") for each in groups} - {""})
    told = f"; {', '.join(inputs)} of activations is not applied" if inputs else ""
    return Scheme(f"compressed-tensors, {', '.join(kinds) or 'weights'}{told}", made)


def _groups(config: Config) -> Iterator[Config]:
    for each in (mapping(config, "config_groups") or {}).values():
        if isinstance(each, Mapping):
            yield each


def _check_format(config: Config) -> None:
    sparse = mapping(config, "sparsity_config") or {}
    for given in (config.get("format"), sparse.get("format")):
        if given is not None and given not in _FORMATS:
            raise unknown("format", given, "compressed-tensors", _FORMATS)


def _kind(group: Config, key: str) -> str:
    found = mapping(group, key) or {}
    bits, kind = found.get("num_bits"), found.get("type")
    return f"{kind}{bits}" if found else ""


def _block(groups: list[Config]) -> Block | None:
    for each in groups:
        match (mapping(each, "weights") or {}).get("block_structure"):
            case [int(high), int(wide)] | (int(high), int(wide)):
                return high, wide
    return None


def _group_size(groups: list[Config]) -> int | None:
    """Give how many inputs share a scale, where the config has one answer for all layers."""
    said = [mapping(each, "weights") or {} for each in groups]
    sizes = {each.get("group_size") for each in said if each.get("strategy") == "group"}
    found = sizes.pop() if len(said) == len(sizes) == 1 else None
    return found if isinstance(found, int) and found > 0 else None


def _packed(source: FileSource, stem: str, size: int | None) -> Made:
    name, word, scale = f"{stem}.weight", stem + _WORD, stem + _SCALE
    if source.dtype(word) == "uint8":
        need(source, "compressed-tensors", word, scale)
        # Where scales are no powers of two in bytes, they are fp8, and scaled themselves.
        own = () if source.dtype(scale) == "uint8" else (f"{stem}.weight_global_scale",)
        return packed(source, name, (word, scale, *own), divides=True)
    shaped = stem + _SHAPE
    need(source, "compressed-tensors", word, scale, shaped)
    need_dtype(source, "compressed-tensors", WORDS, word)
    need_dtype(source, "compressed-tensors", FLOATS, scale)
    if prod(source.shape(shaped)) != 2:
        raise misfit(source, "packed integers", shaped, expected="two numbers, N and K")
    rest = present(source, f"{stem}.weight_zero_point", f"{stem}.weight_g_idx")
    n_out, n_in = (int(size) for size in array(source, shaped).reshape(-1))
    stored = source.shape(word)
    bits = next((each for each in _BITS if stored == (n_out, -(-n_in * each // 32))), None)
    found = source.shape(scale)
    index = f"{stem}.weight_g_idx" in rest
    fit = fits(found, (n_out, n_in), None) or (index and found[:1] == (n_out,))
    is_grouped = size is None or found == (n_out, -(-n_in // size))
    if bits is None or not fit or not is_grouped:
        expected = f"[N, K * bits / 32] and [N, G] of {n_out} outputs and {n_in} inputs"
        expected += f" in groups of {size}" if size else ""
        raise misfit(source, "packed integers", word, scale, shaped, expected=expected)
    _check_zeros(source, f"{stem}.weight_zero_point", scale, bits)
    opened = partial(_open, source, stem, bits, (n_out, n_in), rest)
    return Made((n_out, n_in), (word, scale, shaped, *rest), opened)


def _check_zeros(source: FileSource, zero: str, scale: str, bits: int) -> None:
    for name in present(source, zero):
        wanted = source.shape(scale)
        if source.dtype(name) == "int32" and wanted:
            wanted = (-(-wanted[0] * bits // 32), *wanted[1:])
        if source.shape(name) != wanted:
            expected = f"zeros of the shape {list(wanted)}"
            raise misfit(source, f"integers of {bits} bits", name, scale, expected=expected)


def _open(
    source: FileSource, stem: str, bits: int, shape: tuple[int, int], rest: tuple[str, ...]
) -> Rows:
    words, scale = array(source, stem + _WORD), scales(source, stem + _SCALE)
    half = np.float32(1 << (bits - 1))
    zeros = np.zeros_like(scale)
    for name in rest:
        if name.endswith("_zero_point"):
            zeros = _zeros(source.read(name), bits, half, scale)
    by, less = _over(source, scale, shape, rest), _over(source, zeros, shape, rest)

    def rows(start: int, stop: int) -> Floats:
        found = unpacked(words[start:stop], bits, 1)[:, : shape[1]].astype(np.float32)
        found -= half + less(start, stop)
        found *= by(start, stop)
        return found

    return rows


def _zeros(stored: HostTensor, bits: int, half: np.float32, scale: Floats) -> Floats:
    if stored.dtype != "int32":
        return to_float(stored).reshape(scale.shape)
    codes = unpacked(stored.array.reshape(-1, *scale.shape[1:]), bits, 0)
    return codes[: len(scale)].astype(np.float32) - half


def _over(source: FileSource, laid: Floats, shape: tuple[int, int], rest: tuple[str, ...]) -> Rows:
    """Lay scales or zeros over codes, by a list of each column's group where there is one."""
    for name in rest:
        if not name.endswith("_g_idx"):
            continue
        groups = array(source, name).astype(np.intp)
        if (groups < 0).all():  # written, and not used
            continue
        if groups.shape != shape[1:] or groups.min() < 0 or groups.max() >= laid.shape[1]:
            expected = f"a group below {laid.shape[1]} for each of {shape[1]} inputs"
            raise misfit(source, "columns and their groups", name, expected=expected)
        return lambda start, stop: laid[start:stop][:, groups]
    return spread(laid, shape)
