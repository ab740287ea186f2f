"""Batch invariance: a token's bits do not depend on what else is in the step.

Which code a library runs for a row depends on the shape of the whole call: a product of one
row sums in another order than one of five hundred, the last elements of a vector loop take
the scalar road. So here every call has one shape:

    rows      x x x x x | . . .     tiles of `TILE_ROWS` rows, the last filled up with zeros
    tokens    . p5 p6 p7 | p8 . . .   attention: tiles that start at multiples of a position,
                                     over contexts filled up to multiples of `TILE_SLOTS`

What is left is the place of a row in its tile. A kernel is tried at every place before it is
used (`_is_even`); one whose bits differ there is called for each row alone.

Knows nothing of who asks for it. Source: the causes are those of
https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference (2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel, Run, StateKernel, Unsupported
from octavo_platforms.specs import AttentionSpec, OpSpec
from octavo_torch.ops.decode import decoding
from octavo_torch.ops.tiles import NOBODY, tiled_attention
from octavo_torch.parcel import Cargo

TILE_ROWS = 16
TILE_TOKENS = 4
TILE_SLOTS = 512  # torch's fused attention walks contexts in steps of this many slots

# Ops that add up along a row, or whose functions have a vector and a scalar form. What is left
# moves elements, or rounds each of them once, and has no choice.
BY_ROWS = frozenset(
    {
        "rms_norm",
        "add_rms_norm",
        "layer_norm",
        "silu",
        "silu_gate",
        "gelu",
        "gelu_tanh",
        "softcap",
        "sharpen",
        "rotary",
        "rope_table",
        "sigmoid",
        "time_steps",
    }
)
ALONE = frozenset({"sample", "truncate_logits", "most_likely"})
UNEVEN = frozenset(
    {
        "grouped_linear",
        "route",
        "lora_delta",
        "encoder_attention",
        "mean_rows",
        "score",
        "rope_sections",
    }
)


def invariant_linear(kernel: Kernel) -> Kernel:
    """Make a linear layer whose rows do not see each other."""
    run = _by_rows(kernel.run, frozenset({0}))
    return replace(kernel, name=f"{kernel.name}, batch invariant", run=run)


def invariant_op(spec: OpSpec, kernel: Kernel) -> Kernel | Unsupported:
    """Make an op's kernel one whose rows do not see each other; most are so already."""
    if spec.op in UNEVEN:
        return Unsupported(f"no kernel of '{spec.op}' here is batch invariant")
    if spec.op in BY_ROWS:
        run = _by_rows(kernel.run, _row_inputs(spec.inputs))
    elif spec.op in ALONE:
        run = _one_by_one(kernel.run, _row_inputs(spec.inputs))
    else:
        return kernel
    return replace(kernel, name=f"{kernel.name}, batch invariant", run=run)


def invariant_attention(spec: AttentionSpec) -> StateKernel:
    """Make attention whose tiles depend on positions alone."""

    def cut(inputs: StepInputs, group: str) -> tuple[Cargo, ...]:
        return cut_by_position(inputs, group, spec.state.block_size)

    decode = decoding(spec, is_host=spec.slopes)  # slopes are taken on the host alone
    return tiled_attention(spec, name="torch.invariant_attention", cut=cut, decode=decode)


def cut_by_position(inputs: StepInputs, group: str, block_size: int) -> tuple[Cargo, ...]:
    """Cut a step into tiles, so that a token's place in its tile follows from its position.

    Shapes: as `cut_by_size` gives them; M fills whole `TILE_SLOTS`.
    """
    table, starts = inputs.groups[group].block_table, inputs.query_starts
    computed, lengths = inputs.computed, np.diff(starts)
    first = computed // TILE_TOKENS
    counts = np.where(lengths > 0, (computed + lengths - 1) // TILE_TOKENS - first + 1, 0)
    ends = np.cumsum(counts)
    tiles = np.arange(ends[-1])
    request = np.searchsorted(ends, tiles, side="right")
    position = (tiles - (ends - counts)[request] + first[request])[:, None] * TILE_TOKENS
    position = position + np.arange(TILE_TOKENS)
    offset = position - computed[request][:, None]
    is_there = (offset >= 0) & (offset < lengths[request][:, None])
    token = np.where(is_there, starts[:-1][request][:, None] + offset, 0)
    place = np.zeros(len(inputs.token_ids), np.int32)
    place[token[is_there]] = np.flatnonzero(is_there)
    each = max(1, TILE_SLOTS // block_size)
    blocks = np.zeros((len(tiles), -(-table.shape[1] // each) * each), np.int32)
    blocks[:, : table.shape[1]] = table[request]
    positions = np.where(is_there, position, NOBODY)
    return tuple(
        (found.astype(np.int32, copy=False), "int32")
        for found in (token.reshape(-1), positions, place, blocks)
    )


def _by_rows(run: Run, rows: frozenset[int]) -> Run:
    """Run in tiles, or row by row where a tile's places are not alike; found out at first use."""
    tiled, alone = _in_tiles(run, rows), _one_by_one(run, rows)
    chosen: list[Run] = []

    def found_out(*given: Tensor) -> object:
        if not chosen and given[0].shape[0]:
            chosen.append(tiled if _is_even(run, given, rows) else alone)
        return chosen[0](*given) if chosen else run(*given)

    return found_out


def _row_inputs(types: Sequence[ValueType]) -> frozenset[int]:
    """Tell which inputs have a row for each of the first one's."""
    first = types[0]
    assert isinstance(first, TensorType), "rows are tensors"
    return frozenset(
        index
        for index, each in enumerate(types)
        if isinstance(each, TensorType) and each.shape[:1] == first.shape[:1]
    )


def _in_tiles(run: Run, rows: frozenset[int]) -> Run:
    def tiled(*given: Tensor) -> object:
        count = given[0].shape[0]
        parts = [
            run(*(_tile(each, start) if at in rows else each for at, each in enumerate(given)))
            for start in range(0, count, TILE_ROWS)
        ]
        return _joined(parts, count) if parts else run(*given)

    return tiled


def _one_by_one(run: Run, rows: frozenset[int]) -> Run:
    def alone(*given: Tensor) -> object:
        count = given[0].shape[0]
        parts = [
            run(*(each[row : row + 1] if at in rows else each for at, each in enumerate(given)))
            for row in range(count)
        ]
        return _joined(parts, count) if parts else run(*given)

    return alone


def _tile(x: Tensor, start: int) -> Tensor:
    part = x[start : start + TILE_ROWS]
    missing = TILE_ROWS - part.shape[0]
    if not missing:
        return part.contiguous()  # as one that is filled up: how rows lie chooses the code as well
    return F.pad(part, [0, 0] * (part.dim() - 1) + [0, missing])


def _joined(parts: Sequence[object], count: int) -> object:
    if isinstance(parts[0], Tensor):
        return torch.cat([_tensor(part) for part in parts])[:count]
    columns = zip(*(_tensors(part) for part in parts), strict=True)
    return tuple(torch.cat(column)[:count] for column in columns)


def _is_even(run: Run, given: Sequence[Tensor], rows: frozenset[int]) -> bool:
    """Try whether a row comes out the same at each place of a tile, to the bit."""
    made = run(*(_repeated(each) if at in rows else each for at, each in enumerate(given)))
    found = (made,) if isinstance(made, Tensor) else _tensors(made)
    return all(torch.equal(each, each[:1].expand_as(each)) for each in found)


def _repeated(rows: Tensor) -> Tensor:
    """Give a tile whose rows are all the same: numbers at random, or the first of integers."""
    row = rows[:1]
    if rows.is_floating_point():
        made = torch.randn(row.shape, generator=torch.Generator().manual_seed(0))
        row = made.to(rows.device, rows.dtype)
    return row.expand(TILE_ROWS, *row.shape[1:]).contiguous()


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def _tensors(value: object) -> tuple[Tensor, ...]:
    assert isinstance(value, tuple)
    return tuple(_tensor(each) for each in value)
