"""Attention over latents: both of its forms, and which is taken.

Does not know how rows are mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.platform import Kernel
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.specs import LatentAttentionSpec
from octavo_torch.ops.attention import attention
from octavo_torch.ops.buckets import Long
from octavo_torch.ops.latent import is_less_work, latent_attention, over_rows
from octavo_torch.states import ROWS

BLOCK, NUM_BLOCKS, HOST = 4, 40, torch.device("cpu")


def spec_of(*, heads: int = 3, latent: int = 16, value: int = 10) -> LatentAttentionSpec:
    plane = Plane("latent", (latent + 6,), "float32", ("C",))
    return LatentAttentionSpec(
        num_heads=heads,
        plain_width=12,
        rope_width=6,
        value_width=value,
        latent_width=latent,
        scale=0.3,
        dtype="float32",
        state=StateSpec("kv", "paged", (plane,), 1, BLOCK),
    )


def kernel_of(spec: LatentAttentionSpec) -> Kernel:
    return latent_attention(spec, attention(over_rows(spec), HOST)).at(ROWS)


def step(queries: Sequence[int], computed: Sequence[int]) -> StepInputs:
    count, most = len(queries), max(map(sum, zip(queries, computed, strict=True)))
    width = -(-most // BLOCK)
    table = 1 + np.arange(count * width, dtype=np.int32).reshape(count, width)
    return StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(sum(queries), count, count, max(queries), most, None),
        token_ids=np.zeros(sum(queries), np.int32),
        query_starts=np.cumsum([0, *queries]).astype(np.int32),
        seat=np.arange(count, dtype=np.int32),
        computed=np.array(computed, np.int32),
        rows=np.zeros(count, np.int32),
        sampling=None,
        groups={"kv": GroupInputs(table)},
    )


def attended(spec: LatentAttentionSpec, inputs: StepInputs, *, of: slice = slice(None)) -> Tensor:
    """Attend with numbers that depend on the sizes alone, `of` which some tokens are asked for."""
    draw = torch.Generator().manual_seed(0)
    plane = torch.randn(NUM_BLOCKS, BLOCK, spec.latent_width + 6, generator=draw)
    rows = spec.num_heads * (spec.plain_width + spec.value_width)
    weight = torch.randn(rows, spec.latent_width, generator=draw) * 0.3
    q, rope = (torch.randn(100, spec.num_heads, width, generator=draw)[of] for width in (12, 6))
    kernel = kernel_of(spec)
    assert kernel.prepare is not None
    causes = (inputs.query_starts, inputs.computed, inputs.groups["kv"].block_table)
    given = (each[: len(inputs.token_ids)] for each in (q, rope))
    paged = (*(torch.from_numpy(each) for each in causes), (plane,))
    made = kernel.run(*given, weight, *paged, prepared=kernel.prepare(inputs))
    assert isinstance(made, Tensor)
    return made


@pytest.mark.parametrize(("value", "past"), [(10, 20), (24, 20), (10, 0)])
def test_a_token_attends_alike_in_a_long_part_and_alone(value: int, past: int) -> None:
    spec, new = spec_of(value=value), 60
    whole = attended(spec, step([new], [past]))
    for token in (0, 31, new - 1):
        alone = attended(spec, step([1], [past + token]), of=slice(token, None))
        torch.testing.assert_close(whole[token : token + 1], alone, rtol=1e-5, atol=1e-5)


def test_long_parts_and_single_tokens_stand_in_their_places() -> None:
    spec = spec_of()
    mixed = attended(spec, step([1, 50, 2], [9, 0, 7]))
    wide = step([1, 50, 2], [9, 0, 7])
    table = wide.groups["kv"].block_table
    for request, (start, stop) in enumerate([(0, 1), (1, 51), (51, 53)]):
        own = replace(
            step([stop - start], [wide.computed[request]]),
            groups={"kv": GroupInputs(table[request : request + 1])},
        )
        alone = attended(spec, own, of=slice(start, None))
        torch.testing.assert_close(mixed[start:stop], alone, rtol=1e-5, atol=1e-5)


def test_keys_and_values_are_made_for_many_tokens_and_not_for_few() -> None:
    def is_expanded(num_tokens: int, context: int, heads: int = 128) -> bool:
        spec = replace(
            spec_of(heads=heads, latent=512), plain_width=128, rope_width=64, value_width=128
        )
        return is_less_work(spec, Long(0, num_tokens, context, torch.empty(0), None))

    assert not is_expanded(2, 1000)
    assert not is_expanded(100, 1000)
    assert is_expanded(300, 1000)
    assert not is_expanded(300, 10_000)  # they would take more memory than they may
    assert is_expanded(300, 10_000, heads=16)
