"""Floats of four bits, and of six: mxfp4 and mxfp6, mxfp4 as GPT-OSS stores it, and nvfp4.

    mxfp     weight = code * 2 ** (byte - 127)             a byte for 32 numbers of a row
    nvfp4    weight = code * scale * scale_of_the_tensor   an fp8 scale for 16 numbers of a row

GPT-OSS stores its experts as [X, N, G, 16] bytes, and its plain form has them as [X, K, N].

Source: OCP Microscaling Formats 1.0; openai/gpt-oss, `weights.py`; transformers, `mxfp4`;
    NVIDIA ModelOpt, "NVFP4"; compressed-tensors, `nvfp4` and its siblings `mxfp4`, `mxfp6`.
Knows nothing of which layers have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from types import MappingProxyType

import numpy as np

from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import fours, sixes
from octavo.weights.quantised.scaled import block_size, check_scaled, scale_of, scaled
from octavo.weights.quantised.scheme import (
    BYTES,
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
    unknown,
)
from octavo.weights.quantised.spread import spread

# How many numbers have a scale, by how many bytes they take: mxfp4 and mxfp6, and nvfp4.
_MX: Mapping[int, int] = MappingProxyType({16: 32, 24: 32})
_NV: Mapping[int, int] = MappingProxyType({8: 16})
_ALGORITHMS = ("FP8", "FP8_PER_CHANNEL_PER_TOKEN", "NVFP4", "MXFP8", "MIXED_PRECISION")


def build_mxfp4(source: FileSource, config: Config) -> Scheme:
    """Find what is stored in blocks beside their scales."""
    made = {name: _blocks(source, name) for name in stems(source, "_blocks")}
    return Scheme("mxfp4, a scale for 32 numbers", made)


def build_modelopt(source: FileSource, config: Config) -> Scheme:
    """Find nvfp4 layers, and those of eight bits beside them."""
    algorithm = str(config.get("quant_algo"))
    if algorithm not in _ALGORITHMS:
        raise unknown("quant_algo", config.get("quant_algo"), "ModelOpt", _ALGORITHMS)
    made = {
        stem: packed(source, stem, (stem, f"{stem}_scale", f"{stem}_scale_2"))
        for stem in stems(source, "_scale_2")
    }
    made |= scaled(source, block_size(config), without=made)
    check_scaled(source, made)
    return Scheme(f"ModelOpt {algorithm}", made)


def packed(source: FileSource, name: str, parts: tuple[str, ...], *, divides: bool = False) -> Made:
    """Make a weight of floats of four or six bits in bytes, and its scales.

    `parts` are the bytes, their scales, and, for nvfp4, the tensor's own scale, by which
    compressed-tensors divides.
    """
    need(source, "float4", *parts)
    kinds = _MX if len(parts) == 2 else _NV
    stored, groups = source.shape(parts[0]), source.shape(parts[1])
    wide = next((each for each in kinds if _is_grouped(stored, groups, each)), None)
    if wide is None or (parts[2:] and prod(source.shape(parts[2])) not in (1, stored[0])):
        told = " or ".join(f"{each} bytes" for each in kinds)
        expected = f"rows of bytes, a scale for each {told} of a row, and one for the tensor"
        raise misfit(source, f"floats of few bits for '{name}'", *parts, expected=expected)
    shape = (*stored[:-1], groups[-1] * kinds[wide])
    need_dtype(source, "a float of few bits", BYTES, parts[0])
    need_dtype(source, "a scale", (*FLOATS, "uint8"), parts[1])
    need_dtype(source, "a scale of a tensor", FLOATS, *parts[2:])
    return Made(shape, parts, partial(_open, source, parts, shape, divides=divides))


def _is_grouped(stored: tuple[int, ...], groups: tuple[int, ...], wide: int) -> bool:
    is_some = len(stored) == len(groups) > 1
    return is_some and stored == (*groups[:-1], groups[-1] * wide)


def _open(
    source: FileSource, parts: tuple[str, ...], shape: tuple[int, ...], *, divides: bool
) -> Rows:
    """Open numbers of six bits where a byte holds one and a third of them, else of four."""
    stored, scale = array(source, parts[0]), scale_of(source, parts[1])
    if len(parts) > 2:
        own = scales(source, parts[2])
        own = own.reshape(-1, *[1] * (scale.ndim - 1)) if own.size > 1 else own.reshape(())
        scale = scale / own if divides else scale * own
    by = spread(scale, shape)
    widened = fours if shape[-1] == 2 * stored.shape[-1] else sixes
    return lambda start, stop: widened(stored[start:stop]) * by(start, stop)


def _blocks(source: FileSource, name: str) -> Made:
    blocks, scale = f"{name}_blocks", f"{name}_scales"
    need(source, "mxfp4", blocks, scale)
    found = source.shape(blocks)
    if len(found) not in (3, 4) or found[-1] != 16 or source.shape(scale) != found[:-1]:
        expected = "[N, G, 16] or [X, N, G, 16] bytes, and scales of the same but the last"
        raise misfit(source, "mxfp4", blocks, scale, expected=expected)
    need_dtype(source, "mxfp4", BYTES, blocks)
    need_dtype(source, "mxfp4", ("uint8", "bfloat16"), scale)
    n_in = found[-2] * found[-1] * 2
    is_stacked = len(found) == 4
    shape = (found[0], n_in, found[1]) if is_stacked else (found[0], n_in)
    opened = partial(_open_blocks, source, blocks, scale, is_stacked=is_stacked)
    return Made(shape, (blocks, scale), opened)


def _open_blocks(source: FileSource, blocks: str, scale: str, *, is_stacked: bool) -> Rows:
    stored, sizes = array(source, blocks), scale_of(source, scale)

    def rows(start: int, stop: int) -> Floats:
        numbers = fours(stored[start:stop])
        numbers *= sizes[start:stop][..., np.newaxis]
        flat = numbers.reshape(*numbers.shape[:-2], -1)
        return flat.swapaxes(1, 2) if is_stacked else flat

    return rows
