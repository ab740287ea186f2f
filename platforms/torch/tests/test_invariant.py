"""Batch invariance: kernels whose rows see each other are made blind to each other, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from octavo_platforms.graph import Dim, TensorType
from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.platform import Kernel, Unsupported
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.invariant import (
    TILE_ROWS,
    TILE_SLOTS,
    TILE_TOKENS,
    cut_by_position,
    invariant_linear,
    invariant_op,
)

BLOCK = 16


def by_shape(x: Tensor, weight: Tensor) -> Tensor:
    """Make a product whose bits depend on how many rows there are."""
    return x @ weight + len(x)


def by_place(x: Tensor, weight: Tensor) -> Tensor:
    """Make a product whose bits depend on a row's place."""
    return x @ weight + torch.arange(len(x))[:, None]


def by_layout(x: Tensor, weight: Tensor) -> Tensor:
    """Make a product whose bits depend on how rows lie."""
    return x @ weight + x.stride(0)


@pytest.mark.parametrize("run", [by_shape, by_place, by_layout])
@pytest.mark.parametrize("count", [1, TILE_ROWS, 2 * TILE_ROWS + 3])
def test_a_row_has_the_same_bits_whatever_is_beside_it(run: object, count: int) -> None:
    assert callable(run)
    kernel = invariant_linear(Kernel(name="uneven", run=run))
    x, weight = torch.randn(count, 24)[:, 8:16], torch.randn(8, 4)
    alone = [kernel.run(x[row : row + 1], weight) for row in range(count)]
    found = kernel.run(x, weight)
    assert isinstance(found, Tensor)
    assert torch.equal(found, torch.cat([each for each in alone if isinstance(each, Tensor)]))


def test_no_row_at_all_gives_no_row() -> None:
    kernel = invariant_linear(Kernel(name="plain", run=torch.matmul))
    found = kernel.run(torch.zeros(0, 8), torch.zeros(8, 4))
    assert isinstance(found, Tensor)
    assert found.shape == (0, 4)


def test_outputs_of_several_are_cut_into_rows_each() -> None:
    rows = TensorType((Dim("T"), 8), "float32")
    spec = OpSpec(
        op="add_rms_norm",
        attrs=(),
        inputs=(rows, rows, TensorType((8,), "float32")),
        outputs=(rows, rows),
    )

    def run(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return (x + y) * weight * len(x), x + y

    kernel = invariant_op(spec, Kernel(name="uneven", run=run))
    assert isinstance(kernel, Kernel)
    x, y, weight = torch.randn(19, 8), torch.randn(19, 8), torch.randn(8)
    found = kernel.run(x, y, weight)
    assert isinstance(found, tuple)
    assert torch.equal(found[0], (x + y) * weight * TILE_ROWS)
    assert torch.equal(found[1], x + y)


def test_an_op_that_mixes_rows_is_refused_by_name() -> None:
    spec = OpSpec(op="grouped_linear", attrs=(), inputs=(), outputs=())
    found = invariant_op(spec, Kernel(name="experts", run=torch.matmul))
    assert isinstance(found, Unsupported)
    assert "grouped_linear" in found.reason


def test_a_tokens_place_in_its_tile_follows_from_its_position_alone() -> None:
    queries, computed = np.array([1, 9, 0, 4]), np.array([6, 3, 5, 0], np.int32)
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    table = np.arange(1, 1 + 4 * 2, dtype=np.int32).reshape(4, 2)
    inputs = StepInputs(
        entry="forward",
        sequence=0,
        shape=StepShape(int(starts[-1]), 4, 0, 9, 12, None),
        token_ids=np.zeros(starts[-1], np.int32),
        query_starts=starts,
        seat=np.arange(1, 5, dtype=np.int32),
        computed=computed,
        rows=np.zeros(0, np.int32),
        row_seat=np.zeros(0, np.int32),
        sampling=None,
        groups={"kv": GroupInputs(table)},
    )
    (token, _), (position, _), (place, _), (blocks, _) = cut_by_position(inputs, "kv", BLOCK)
    own = np.concatenate([np.arange(c, c + q) for c, q in zip(computed, queries, strict=True)])
    assert np.array_equal(place % TILE_TOKENS, own % TILE_TOKENS)
    assert np.array_equal(position.reshape(-1)[place], own)
    assert np.array_equal(token[place], np.arange(len(own)))
    owner = np.repeat(np.arange(4), queries)
    assert np.array_equal(blocks[place // TILE_TOKENS, :2], table[owner])
    assert blocks.shape[1] * BLOCK % TILE_SLOTS == 0
