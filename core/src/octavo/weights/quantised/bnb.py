"""bitsandbytes: nf4 and fp4 in blocks, and int8 by rows.

    4 bits    weight = quant_map[code] * absmax[block]     the high half of each byte first
    int8      weight = code * SCB[row] / 127

The largest magnitudes of blocks may be codes of eight bits themselves, in blocks of their own
and less an offset. What is not in a tensor is a JSON object, stored as bytes.

Source: arXiv 2305.14314; bitsandbytes, `QuantState.as_dict` and `int8_vectorwise_dequant`.
Knows nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from math import prod

import numpy as np

from octavo.errors import ModelError
from octavo.models.reading import number, whole
from octavo.weights.lowered import FileSource
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
    present,
    scales,
    stems,
)

_STATE = ".quant_state.bitsandbytes__"
_PER_STEP = np.float32(7.874015718698502e-3)  # 1 / 127, as bitsandbytes writes it


def build(source: FileSource, config: Config) -> Scheme:
    """Find the layers that are stored in one of the forms."""
    made = {f"{stem}.weight": _rows_of_int8(source, stem) for stem in stems(source, ".SCB")}
    for kind in ("nf4", "fp4"):
        made |= {name: _blocks(source, name, kind) for name in stems(source, _STATE + kind)}
    for suffix, part in ((".weight_format", ".SCB"), (".weight.absmax", f".weight{_STATE}nf4")):
        for stem in stems(source, suffix):
            if f"{stem}.weight" not in made:
                need(source, "bitsandbytes", f"{stem}.weight", stem + part)
    return Scheme("bitsandbytes", made)


def _rows_of_int8(source: FileSource, stem: str) -> Made:
    weight, scale = f"{stem}.weight", f"{stem}.SCB"
    need(source, "bitsandbytes", weight)
    shape = source.shape(weight)
    if source.shape(scale) != shape[:1] or source.dtype(weight) != "int8":
        expected = "[N, K] of int8, and [N]"
        raise misfit(source, "bitsandbytes int8", weight, scale, expected=expected)
    need_dtype(source, "bitsandbytes", FLOATS, scale)
    layout = present(source, f"{stem}.weight_format")
    if layout and array(source, layout[0]).any():
        raise ModelError(
            f"{source.file_of(weight)}: '{weight}' is stored in an order of bitsandbytes that "
            "belongs to one device. Save the model again with a release from 0.45 on."
        )

    def opened() -> Rows:
        codes, by = array(source, weight), scales(source, scale)[:, np.newaxis] * _PER_STEP
        return lambda start, stop: codes[start:stop].astype(np.float32) * by[start:stop]

    return Made(shape, (weight, scale, *layout), opened)


def _blocks(source: FileSource, name: str, kind: str) -> Made:
    state = f"{name}{_STATE}{kind}"
    parts = (name, state, f"{name}.absmax", f"{name}.quant_map")
    need(source, "bitsandbytes", *parts)
    try:
        said = json.loads(array(source, state).tobytes())
    except ValueError as error:
        raise ModelError(f"{source.file_of(name)}: '{state}' is no JSON ({error}).") from error
    match said:
        case {"shape": [*sizes], "blocksize": int(size)} if size > 0 and all(
            isinstance(each, int) for each in sizes
        ):
            shape = tuple(int(each) for each in sizes)
        case _:
            raise ModelError(
                f"{source.file_of(name)}: '{state}' is expected to hold a shape and a blocksize "
                f"above zero, and holds {said}. Fetch the file again."
            )
    nested = present(source, f"{name}.nested_absmax", f"{name}.nested_quant_map")
    blocks = -(-prod(shape) // size)
    stored = -(-prod(shape) // 2)
    inner = -(-blocks // whole(said, "nested_blocksize")) if nested else 0
    wanted = {parts[2]: blocks, parts[3]: 16}
    wanted |= dict(zip(nested, (inner, 256), strict=False))
    is_fit = all(source.shape(each) == (count,) for each, count in wanted.items())
    if prod(source.shape(name)) != stored or not is_fit:
        scheme, told = f"{kind} of the shape {list(shape)}", ", ".join(map(str, wanted.values()))
        expected = f"{stored} bytes, and {told} numbers"
        raise misfit(source, scheme, name, *wanted, expected=expected)
    need_dtype(source, "bitsandbytes", BYTES, name, *(parts[2:3] if nested else ()))
    floats = [each for each in wanted if not (nested and each == parts[2])]
    need_dtype(source, "bitsandbytes", FLOATS, *floats)
    opened = partial(_open, source, name, said, shape, nested)
    return Made(shape, (*parts, *nested), opened)


def _open(
    source: FileSource,
    name: str,
    said: Mapping[str, object],
    shape: tuple[int, ...],
    nested: tuple[str, ...],
) -> Rows:
    codes, table = (
        array(source, name).view(np.uint8).reshape(-1),
        scales(source, f"{name}.quant_map"),
    )
    largest = _largest(source, name, said, nested)
    size, columns = whole(said, "blocksize"), prod(shape[1:])

    def rows(start: int, stop: int) -> Floats:
        first, last = start * columns, stop * columns
        pairs = codes[first // 2 : -(-last // 2)]
        both = table[np.stack([pairs >> 4, pairs & 15], axis=-1)].reshape(-1)
        found: Floats = both[first % 2 :][: last - first]
        by = np.repeat(largest[first // size : -(-last // size)], size)[first % size :]
        return (found * by[: last - first]).reshape(stop - start, *shape[1:])

    return rows


def _largest(
    source: FileSource, name: str, said: Mapping[str, object], nested: tuple[str, ...]
) -> Floats:
    if not nested:
        return scales(source, f"{name}.absmax")
    need(source, "bitsandbytes", f"{name}.nested_absmax", f"{name}.nested_quant_map")
    table = scales(source, f"{name}.nested_quant_map")
    codes = array(source, f"{name}.absmax")
    size = whole(said, "nested_blocksize")
    by = np.repeat(scales(source, f"{name}.nested_absmax"), size)[: len(codes)]
    found: Floats = table[codes] * by + np.float32(number(said, "nested_offset"))
    return found
