"""Floats of eight bits and integers of eight, each with scales in a tensor beside it.

    weight = code * scale           for the tensor, each row, groups of a row, or blocks of both

`X` comes with `X_scale`, or with `X_scale_inv`, which is multiplied as well, its name
notwithstanding. Experts that are stacked in one tensor have scales that are stacked alike.

Source: arXiv 2412.19437 section 3.3, DeepSeek-V3 `weight_dequant`; transformers, `finegrained_fp8`;
    vLLM, "FP8 W8A8"; OCP Microscaling Formats 1.0 for scales in bytes.
Knows nothing of which layers have them: a scale beside a tensor says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np

from octavo.errors import ModelError
from octavo.weights.lowered import FileSource
from octavo.weights.quantised.bits import powers
from octavo.weights.quantised.scheme import (
    FLOATS,
    Config,
    Floats,
    Made,
    Rows,
    Scheme,
    all_finite,
    array,
    misfit,
    need_dtype,
    scales,
    stems,
)
from octavo.weights.quantised.spread import Block, fits, spread
from octavo_platforms.tensor import HostTensor, is_float, to_float

_SUFFIXES = ("_scale_inv", "_scale")
# Powers of two in bytes: without blocks, each for as many numbers of a row.
_POWERS, _MX = ("U8", "F8_E8M0"), 32
_EIGHTS = ("F8_E4M3", "F8_E5M2", "I8")


def build(source: FileSource, config: Config) -> Scheme:
    """Find the tensors that have scales beside them."""
    block = block_size(config)
    kind = "int8" if "int8" in str(config.get("quant_method")) else "fp8"
    by = f" in blocks of {block[0]} x {block[1]}" if block else ""
    made = scaled(source, block)
    check_scaled(source, made)
    return Scheme(f"{kind}{by}", made)


def block_size(config: Config) -> Block | None:
    """Give the rows and columns that share a scale, None where the config names none."""
    match config.get("weight_block_size"):
        case None:
            return None
        case [int(rows), int(columns)] if rows > 0 and columns > 0:
            return rows, columns
        case found:
            raise ModelError(
                "config.json: 'weight_block_size' has to be two positive integers, rows and "
                f"columns, not {found!r}"
            )


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


def check_scaled(source: FileSource, made: Mapping[str, Made]) -> None:
    """Refuse a weight of eight bits that no scale was found for. Raises: ModelError."""
    known = made.keys() | {name for each in made.values() for name in each.uses}
    for name in sorted(source.names()):
        if source.kind(name) in _EIGHTS and len(source.shape(name)) > 1 and name not in known:
            raise ModelError(
                f"{source.file_of(name)}: '{name}' is stored as {source.kind(name)}, which needs "
                f"scales: '{name}{_SUFFIXES[0]}' or '{name}{_SUFFIXES[1]}' is expected beside it, "
                "and there is none. Fetch all files of the checkpoint."
            )


def _made(source: FileSource, name: str, scale: str, block: Block | None) -> Made:
    shape, dtype = source.shape(name), source.dtype(name)
    is_known = len(shape) > 1 and (is_float(dtype) or dtype == "int8")
    if not is_known or not _fits(source, scale, shape, block):
        raise misfit(source, "numbers and their scales", name, scale, expected=_expected(block))
    need_dtype(source, "a scale", (*FLOATS, "uint8"), scale)
    zero = name + "_zero_point"
    zeros = (zero,) if zero in source.names() else ()
    if zeros and not fits(source.shape(zero), shape, block):
        raise misfit(source, "numbers and their zeros", name, zero, expected=_expected(block))
    opened = partial(_open, source, name, scale, block, zeros)
    return Made(shape, (name, scale, *zeros), opened)


def _fits(source: FileSource, scale: str, shape: tuple[int, ...], block: Block | None) -> bool:
    if source.kind(scale) in _POWERS and block is None:
        return source.shape(scale) == (*shape[:-1], shape[-1] // _MX)
    return fits(source.shape(scale), shape, block)


def _expected(block: Block | None) -> str:
    blocks = f", or one for each block of {block[0]} x {block[1]}" if block else ""
    return f"a scale for the tensor, one for each row, or one for each group of a row{blocks}"


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
