"""Attention against the oracle: any mix of requests, and nothing foreign leaks in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from octavo_conformance.compare import close
from octavo_conformance.oracle import ORACLE
from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.platform import StateLayout
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.specs import AttentionSpec
from octavo_platforms.tensor import DType
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.memory import to_host
from octavo_torch.ops.attention import SCORES_BYTES, attention
from octavo_torch.states import HEADS_FIRST, SLOTS_FIRST

BLOCK, WIDTH, SCALE = 4, 8, 0.3
NAN = float("nan")
MIXES = [
    ((1,), (0,)),
    ((1,), (11,)),
    ((1, 1, 1), (3, 4, 30)),
    ((6,), (0,)),
    ((5,), (9,)),
    ((1, 4, 0, 1, 3), (8, 0, 5, 2, 7)),
]


@dataclass(frozen=True, slots=True)
class Case:
    """A step, and a state [B, P, K, D] whose slots outside the requests' contexts hold poison.

    What a head's scores lose with distance is [H], or nothing.
    """

    inputs: StepInputs
    q: torch.Tensor
    planes: tuple[torch.Tensor, torch.Tensor]
    spec: AttentionSpec
    slopes: tuple[torch.Tensor, ...] = ()


def sloped(case: Case) -> Case:
    """Give each head a slope, from steep to almost level."""
    steep = 0.7 ** torch.arange(1, case.spec.num_heads + 1)
    return replace(case, spec=replace(case.spec, slopes=True), slopes=(steep,))


def drawn(
    queries: Sequence[int],
    computed: Sequence[int],
    *,
    heads: tuple[int, int],
    dtype: DType,
    poison: float,
) -> Case:
    num_heads, num_kv_heads = heads
    generator = torch.Generator().manual_seed(1)
    lengths = np.add(queries, computed)
    width = max(1, -(-int(lengths.max()) // BLOCK))
    num_blocks = len(queries) * width + 1
    order = 1 + torch.randperm(num_blocks - 1, generator=generator).to(torch.int32)
    table = order.view(len(queries), width).numpy()
    table[np.arange(width) >= -(-lengths[:, None] // BLOCK)] = 0
    planes = []
    for _ in range(2):
        plane = torch.full((num_blocks * BLOCK, num_kv_heads, WIDTH), poison)
        for row, length in zip(table, lengths, strict=True):
            at = np.arange(length)
            slots = row[at // BLOCK] * BLOCK + at % BLOCK
            plane[slots] = torch.randn(len(slots), num_kv_heads, WIDTH, generator=generator)
        planes.append(plane.view(num_blocks, BLOCK, num_kv_heads, WIDTH).to(TORCH_OF[dtype]))
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    q = torch.randn(int(starts[-1]), num_heads, WIDTH, generator=generator).to(TORCH_OF[dtype])
    spec = AttentionSpec(
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_width=WIDTH,
        scale=SCALE,
        dtype=dtype,
        state=StateSpec("kv", "paged", (Plane("k", (num_kv_heads, WIDTH), dtype),) * 2, 1, BLOCK),
    )
    inputs = StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(len(q), len(queries), 1, max(queries), int(lengths.max()), None),
        token_ids=np.zeros(len(q), np.int32),
        query_starts=starts,
        seat=np.arange(len(queries), dtype=np.int32),
        computed=np.array(computed, np.int32),
        rows=starts[1:] - np.int32(1),
        sampling=None,
        groups={"kv": GroupInputs(table)},
    )
    return Case(inputs, q, (planes[0], planes[1]), spec)


def attend(case: Case, layout: StateLayout) -> None:
    """Attend, and compare with the oracle."""
    kernel = attention(case.spec, torch.device("cpu")).at(layout)
    assert kernel.prepare is not None
    inputs = case.inputs
    causes = (inputs.query_starts, inputs.computed, inputs.groups["kv"].block_table)
    axes = (0, 1, 2, 3) if layout == SLOTS_FIRST else (2, 0, 1, 3)
    laid = tuple(plane.permute(axes).contiguous() for plane in case.planes)
    with torch.inference_mode():
        given = (torch.from_numpy(cause) for cause in causes)
        found = kernel.run(case.q, *given, laid, *case.slopes, prepared=kernel.prepare(inputs))
    assert isinstance(found, torch.Tensor)
    wide = tuple(plane.double().numpy() for plane in case.planes)
    slopes = case.slopes[0].double().numpy() if case.slopes else None
    q = case.q.double().numpy()
    exact = ORACLE["attention"](q, *causes, wide, slopes=slopes, scale=SCALE)
    assert isinstance(exact, np.ndarray)
    close("attention", to_host(found), exact, case.spec.dtype)


@pytest.mark.parametrize(("queries", "computed"), MIXES)
@pytest.mark.parametrize("layout", [SLOTS_FIRST, HEADS_FIRST])
@pytest.mark.parametrize("poison", [0.0, NAN, float("inf")])
def test_any_mix_agrees_with_the_oracle_whatever_foreign_slots_hold(
    queries: tuple[int, ...], computed: tuple[int, ...], layout: StateLayout, poison: float
) -> None:
    attend(drawn(queries, computed, heads=(6, 2), dtype="float32", poison=poison), layout)


@pytest.mark.parametrize("heads", [(4, 4), (4, 1), (6, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_any_grouping_of_heads_agrees_with_the_oracle_in_any_dtype(
    heads: tuple[int, int], dtype: DType
) -> None:
    attend(drawn(*MIXES[-1], heads=heads, dtype=dtype, poison=NAN), SLOTS_FIRST)


def test_many_requests_of_very_different_lengths_agree_with_the_oracle() -> None:
    computed = tuple(range(0, 200, 5))
    queries = (1,) * len(computed)
    attend(drawn(queries, computed, heads=(2, 2), dtype="float32", poison=NAN), HEADS_FIRST)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("queries", "computed"), MIXES)
def test_any_mix_with_slopes_agrees_with_the_oracle(
    queries: tuple[int, ...], computed: tuple[int, ...], dtype: DType
) -> None:
    attend(sloped(drawn(queries, computed, heads=(6, 2), dtype=dtype, poison=NAN)), HEADS_FIRST)


def test_a_prompt_whose_scores_do_not_fit_at_once_is_attended_to_by_some_heads_after_others() -> (
    None
):
    heads, tokens = 8, 1100
    assert heads * tokens**2 * 4 > SCORES_BYTES
    attend(
        sloped(drawn((tokens,), (0,), heads=(heads, 8), dtype="float32", poison=NAN)), SLOTS_FIRST
    )
