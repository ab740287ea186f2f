"""Attention over tiles: its shapes follow from sizes alone, its results from the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from octavo_conformance.compare import close
from octavo_conformance.oracle import ORACLE
from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.shapes import ShapePolicy, padded
from octavo_platforms.specs import AttentionSpec
from octavo_platforms.tensor import DType
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.memory import to_host
from octavo_torch.ops.decode import Decode, sdpa_decode
from octavo_torch.ops.tiles import TILE_TOKENS, cut_by_size, tiled_attention
from octavo_torch.parcel import delivered
from octavo_torch.states import SLOTS_FIRST

HEADS, KV_HEADS, WIDTH, BLOCK = 6, 2, 8, 4
CPU = torch.device("cpu")
SIZES = ShapePolicy({"T": (8, 64), "R": (8,), "M": (4, 16)})
MIXES = [
    ((1,), (0,)),
    ((1, 1, 1), (0, 5, 40)),
    ((17,), (0,)),
    ((1, 33, 1, 16), (9, 7, 0, 48)),
    ((7, 1), (3, 60)),
]


def step(queries: Sequence[int], computed: Sequence[int]) -> StepInputs:
    lengths = np.add(queries, computed)
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    counts = -(-lengths // BLOCK)
    table = np.zeros((len(queries), int(counts.max())), np.int32)
    blocks = iter(1 + np.random.default_rng(0).permutation(int(counts.sum())))
    for row, count in enumerate(counts):
        table[row, :count] = [next(blocks) for _ in range(count)]
    return StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(int(starts[-1]), len(queries), 0, max(queries), int(lengths.max()), None),
        token_ids=np.zeros(int(starts[-1]), np.int32),
        query_starts=starts,
        seat=np.arange(1, len(queries) + 1, dtype=np.int32),
        computed=np.array(computed, np.int32),
        rows=np.zeros(0, np.int32),
        sampling=None,
        groups={"kv": GroupInputs(table)},
    )


def spec(dtype: DType = "float32", window: int | None = None) -> AttentionSpec:
    planes = (Plane("k", (KV_HEADS, WIDTH), dtype), Plane("v", (KV_HEADS, WIDTH), dtype))
    return AttentionSpec(
        num_heads=HEADS,
        num_kv_heads=KV_HEADS,
        head_width=WIDTH,
        scale=0.3,
        dtype=dtype,
        state=StateSpec("kv", "paged", planes, 1, BLOCK),
        window=window,
    )


def without_what_was_left(inputs: StepInputs, window: int) -> StepInputs:
    """Make the blocks null that no token of a step sees."""
    table = inputs.groups["kv"].block_table.copy()
    left = np.maximum(inputs.computed - window + 1, 0) // BLOCK
    table[np.arange(table.shape[1]) < left[:, None]] = 0
    return replace(inputs, groups={"kv": GroupInputs(table)})


def planes_of(inputs: StepInputs, dtype: DType) -> tuple[torch.Tensor, torch.Tensor]:
    """Give keys and values that are not-a-number wherever no request has written."""
    table = inputs.groups["kv"].block_table
    drawn = torch.Generator().manual_seed(0)
    found = []
    for _ in range(2):
        plane = torch.full((int(table.max()) + 1, BLOCK, KV_HEADS, WIDTH), float("nan"))
        for row, length in zip(table, inputs.computed + np.diff(inputs.query_starts), strict=True):
            for at in range(length):
                numbers = torch.randn(KV_HEADS, WIDTH, generator=drawn)
                plane[row[at // BLOCK], at % BLOCK] = numbers
        found.append(plane.to(TORCH_OF[dtype]))
    return found[0], found[1]


def attend(
    inputs: StepInputs,
    q: torch.Tensor,
    planes: tuple[torch.Tensor, torch.Tensor],
    asked: AttentionSpec,
    decode: Decode | None = sdpa_decode,
    slopes: torch.Tensor | None = None,
) -> torch.Tensor:
    kernel = tiled_attention(asked, decode=decode).at(SLOTS_FIRST)
    assert kernel.prepare is not None
    given = padded(inputs, SIZES)
    longer = torch.zeros(len(given.token_ids), *q.shape[1:], dtype=q.dtype)
    longer[: len(q)] = q
    causes = (given.query_starts, given.computed, given.groups["kv"].block_table)
    prepared = delivered({0: kernel.prepare(given)}, CPU)[0]
    behind = () if slopes is None else (slopes,)
    found = kernel.run(longer, *map(torch.from_numpy, causes), planes, *behind, prepared=prepared)
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("window", [None, 1, 6])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("queries", "computed"), MIXES)
def test_padded_tiles_agree_with_the_oracle_whatever_foreign_slots_hold(
    queries: tuple[int, ...], computed: tuple[int, ...], dtype: DType, window: int | None
) -> None:
    inputs = step(queries, computed)
    planes = planes_of(inputs, dtype)
    if window is not None:
        inputs = without_what_was_left(inputs, window)
    drawn = torch.Generator().manual_seed(1)
    q = torch.randn(sum(queries), HEADS, WIDTH, generator=drawn).to(TORCH_OF[dtype])
    found = attend(inputs, q, planes, spec(dtype, window))
    assert bool(found.isfinite().all())
    exact = ORACLE["attention"](
        q.double().numpy(),
        inputs.query_starts,
        inputs.computed,
        inputs.groups["kv"].block_table,
        tuple(plane.double().numpy() for plane in planes),
        scale=0.3,
        window=window,
    )
    assert isinstance(exact, np.ndarray)
    close("attention", to_host(found[: len(q)]), exact, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("queries", "computed"), MIXES)
def test_padded_tiles_with_slopes_agree_with_the_oracle(
    queries: tuple[int, ...], computed: tuple[int, ...], dtype: DType
) -> None:
    inputs, asked = step(queries, computed), replace(spec(dtype), slopes=True)
    planes = planes_of(inputs, dtype)
    drawn = torch.Generator().manual_seed(1)
    q = torch.randn(sum(queries), HEADS, WIDTH, generator=drawn).to(TORCH_OF[dtype])
    steep = 0.7 ** torch.arange(1, HEADS + 1)
    found = attend(inputs, q, planes, asked, None, steep)
    exact = ORACLE["attention"](
        q.double().numpy(),
        inputs.query_starts,
        inputs.computed,
        inputs.groups["kv"].block_table,
        tuple(plane.double().numpy() for plane in planes),
        slopes=steep.double().numpy(),
        scale=0.3,
    )
    assert isinstance(exact, np.ndarray)
    close("attention", to_host(found[: len(q)]), exact, dtype)


def test_every_token_has_a_place_of_its_own_in_a_tile_of_its_request() -> None:
    inputs = padded(step((1, 33, 1, 16), (9, 7, 0, 48)), SIZES)
    (token, _), (position, _), (place, _), (blocks, _) = cut_by_size(inputs, "kv")
    assert position.shape == (64 // TILE_TOKENS + 8, TILE_TOKENS)
    places = place[: inputs.shape.num_tokens]
    assert len(set(places.tolist())) == inputs.shape.num_tokens
    assert token[places].tolist() == list(range(inputs.shape.num_tokens))
    owner = np.repeat(np.arange(4), np.diff(inputs.query_starts)[:4])
    own = inputs.groups["kv"].block_table[owner]
    assert np.array_equal(blocks[places // TILE_TOKENS], own)
    behind = np.arange(len(places)) - inputs.query_starts[owner]
    assert np.array_equal(position.reshape(-1)[places], inputs.computed[owner] + behind)
    nobody = np.ones(position.size, bool)
    nobody[places] = False
    assert (position.reshape(-1)[nobody] == -1).all()


@pytest.mark.parametrize(
    ("mixes", "num_tokens"), [((MIXES[0], MIXES[1]), 8), ((MIXES[2], MIXES[3]), 64)]
)
def test_steps_of_equal_sizes_attend_in_equal_shapes(
    mixes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], num_tokens: int
) -> None:
    seen = []

    def noting(
        q: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        seen.append((q.shape, keys.shape))
        return sdpa_decode(q, keys, values, mask, scale)

    for queries, computed in mixes:
        inputs = step(queries, [min(16 * BLOCK - 17, past + 5 * BLOCK) for past in computed])
        q = torch.zeros(sum(queries), HEADS, WIDTH)
        found = attend(inputs, q, planes_of(inputs, "float32"), spec(), noting)
        assert len(found) == num_tokens
    assert len(seen) == 2
    assert len(set(seen)) == 1
