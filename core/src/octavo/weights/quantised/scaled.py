"""Floats of eight bits and integers of eight, each with scales in a tensor beside it.

    weight = code * scale           for the tensor, each row, groups of a row, or blocks of both

`X` comes with `X_scale`, or with `X_scale_inv`, which is multiplied as well, its name
notwithstanding. Experts that are stacked in one tensor have scales that are stacked alike.

Source: arXiv 2412.19437 section 3.3, DeepSeek-V3 `weight_dequant`; transformers, `finegrained_fp8`;
    vLLM, "FP8 W8A8"; OCP Microscaling Formats 1.0 for scales in bytes.
Knows nothing of which layers have them: a scale beside a tensor says so.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np

from octavo.models.reading import whole
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import powers
from octavo.weights.quantised.scheme import (
    Config,
    Floats,
    Made,
    Rows,
    Scheme,
    all_finite,
    array,
    misfit,
    scales,
    stems,
)
from octavo.weights.quantised.spread import Block, fits, spread
from octavo_platforms.tensor import HostTensor, is_float, to_float

_SUFFIXES = ("_scale_inv", "_scale")


def build(source: FileSource, config: Config) -> Scheme:
    """Find the tensors that have scales beside them."""
    block = block_size(config)
    kind = "int8" if "int8" in str(config.get("quant_method")) else "fp8"
    by = f" in blocks of {block[0]} x {block[1]}" if block else ""
    return Scheme(f"{kind}{by}", scaled(source, block))


def block_size(config: Config) -> Block | None:
    """Give the rows and columns that share a scale, None where the config names none."""
    found = config.get("weight_block_size")
    if not isinstance(found, list | tuple) or len(found) != 2:
        return None
    sizes = {"rows": found[0], "columns": found[1]}
    return whole(sizes, "rows"), whole(sizes, "columns")


def scaled(
    source: FileSource, block: Block | None, *, without: Collection[str] = ()
) -> dict[str, Made]:
    """Find the tensors with scales beside them, but for those that are understood otherwise."""
    made: dict[str, Made] = {}
    for suffix in _SUFFIXES:
        for name in stems(source, suffix):
            if name in source.names() and name not in made and name not in without:
                made[name] = _made(source, name, f"{name}{suffix}", block)
    return made


def _made(source: FileSource, name: str, scale: str, block: Block | None) -> Made:
    shape, dtype = source.shape(name), source.dtype(name)
    is_known = len(shape) > 1 and (is_float(dtype) or dtype == "int8")
    if not is_known or not fits(source.shape(scale), shape, block):
        raise misfit(source, "numbers and their scales", name, scale)
    zero = name + "_zero_point"
    zeros = (zero,) if zero in source.names() else ()
    if zeros and not fits(source.shape(zero), shape, block):
        raise misfit(source, "numbers and their zeros", name, zero)
    opened = partial(_open, source, name, scale, block, zeros)
    return Made(shape, (name, scale, *zeros), opened)


def _open(
    source: FileSource, name: str, scale: str, block: Block | None, zeros: tuple[str, ...]
) -> Rows:
    stored, shape = source.read(name), source.shape(name)
    by = spread(scale_of(source, scale), shape, block)
    less = [spread(to_float(source.read(zero)), shape, block) for zero in zeros]

    def rows(start: int, stop: int) -> Floats:
        found = to_float(HostTensor(stored.array[start:stop], stored.dtype))
        for zero in less:
            found = found - zero(start, stop)
        return np.multiply(found, by(start, stop))

    return rows


def scale_of(source: FileSource, name: str) -> Floats:
    """Read scales, which are powers of two where they are stored as bytes. Raises: ModelError."""
    if source.dtype(name) != "uint8":
        return scales(source, name)
    return all_finite(source, name, powers(array(source, name)))
