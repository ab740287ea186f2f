"""Attention over latents, and writing them, by slot.

    q  ──keys' part of the weight──> a query of latents | rotary query
       ──attention: one KV head, its rows both keys and values──> a mixture of latents
       ──values' part of the weight──> [T, H, Dv]

In this absorbed form the heads share what is gathered, and how requests are sorted out, gathered
and attended to is as for any other state (`attention`, `tiles`, `bounded`). Where a request has
so many new tokens that it is less work, its keys and values are made of its latents instead.

Knows nothing of how a mixture over rows is made.
Source: arXiv 2405.04434 section 2.1.2.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import AttentionSpec, LatentAttentionSpec, LatentRowsSpec
from octavo_platforms.tensor import itemsize
from octavo_torch.ops.buckets import Long, Sorted
from octavo_torch.states import ROWS, SLOTS_FIRST, Planes

# How large the keys and values of one request may be, when they are made of its latents.
EXPANDED_BYTES = 256 << 20


def over_rows(spec: LatentAttentionSpec) -> AttentionSpec:
    """Say what attention over a state's rows is: one KV head, as wide as a row."""
    return AttentionSpec(
        num_heads=spec.num_heads,
        num_kv_heads=1,
        head_width=spec.latent_width + spec.rope_width,
        scale=spec.scale,
        dtype=spec.dtype,
        state=spec.state,
        lengths=spec.lengths,
    )


def latent_attention(spec: LatentAttentionSpec, rows: StateKernel) -> StateKernel:
    """Make attention over latents of attention over their rows, for `over_rows(spec)`."""
    inner = rows.at(SLOTS_FIRST)
    kernel = Kernel(
        name="torch.latent_attention", run=_Latent(spec, inner).run, prepare=inner.prepare
    )
    return StateKernel(name=kernel.name, layouts=(ROWS,), at=lambda layout: kernel)


def latent_rows(spec: LatentRowsSpec) -> StateKernel:
    """Make state[slots] = latent | key, or the reverse."""
    run = _write if spec.op == "latent_write" else _read
    kernel = Kernel(name=f"torch.{spec.op}", run=run)
    return StateKernel(name=kernel.name, layouts=(ROWS,), at=lambda layout: kernel)


def is_less_work(spec: LatentAttentionSpec, long: Long) -> bool:
    """Tell whether making one request's keys and values is less work than absorbing them.

    Counted in products of a head: those of scores and values, and those by the weight.
    """
    num_tokens = long.stop - long.start
    narrow = spec.plain_width + spec.rope_width + spec.value_width
    wide = 2 * spec.latent_width + spec.rope_width
    by_weight = spec.latent_width * (spec.plain_width + spec.value_width)
    expanded = long.context * (num_tokens * narrow + by_weight)
    num_bytes = long.context * spec.num_heads * narrow * itemsize(spec.dtype)
    return expanded < num_tokens * (long.context * wide + by_weight) and num_bytes < EXPANDED_BYTES


class _Latent:
    """Attention over latents at one spec."""

    def __init__(self, spec: LatentAttentionSpec, inner: Kernel) -> None:
        self._spec = spec
        self._inner = inner

    def run(
        self,
        q: Tensor,
        rope: Tensor,
        weight: Tensor,
        *paged: *tuple[Tensor, Tensor, Tensor, Planes],
        prepared: object = None,
    ) -> Tensor:
        """Attend each new token to its own request's past and to itself."""
        absorb = partial(self._absorbed, q, rope, weight, paged)
        if not isinstance(prepared, Sorted):
            return absorb({} if self._inner.prepare is None else {"prepared": prepared})
        longs = [long for long in prepared.longs if is_less_work(self._spec, long)]
        if not longs:
            return absorb({"prepared": prepared})
        others = (each for each in prepared.longs if not is_less_work(self._spec, each))
        rest = replace(prepared, longs=tuple(others))
        if rest.longs or rest.buckets:
            out = absorb({"prepared": rest})
        else:
            out = q.new_empty((*q.shape[:2], self._spec.value_width))
        (plane,) = paged[-1]
        for long in longs:
            own = slice(long.start, long.stop)
            self._expanded(torch.cat((q[own], rope[own]), -1), weight, plane, long, out[own])
        return out

    def _absorbed(
        self,
        q: Tensor,
        rope: Tensor,
        weight: Tensor,
        paged: tuple[Tensor, Tensor, Tensor, Planes],
        prepared: dict[str, object],
    ) -> Tensor:
        spec, (*causes, (plane,)) = self._spec, paged
        by_head = weight.view(spec.num_heads, -1, spec.latent_width)
        of_keys, of_values = by_head.split_with_sizes((spec.plain_width, spec.value_width), 1)
        absorbed = torch.bmm(q.transpose(0, 1), of_keys).transpose(0, 1)
        queries = torch.cat((absorbed, rope), -1)
        mixed = self._inner.run(queries, *causes, (plane.unsqueeze(2),), **prepared)
        assert isinstance(mixed, Tensor)
        latents = mixed[..., : spec.latent_width].transpose(0, 1)
        return torch.bmm(latents, of_values.transpose(1, 2)).transpose(0, 1).contiguous()

    def _expanded(
        self, queries: Tensor, weight: Tensor, plane: Tensor, long: Long, out: Tensor
    ) -> None:
        """Attend one request's tokens. Shapes: queries [Q, H, Dn+Dr]; out [Q, H, Dv]."""
        spec = self._spec
        rows = plane.index_select(0, long.blocks).flatten(0, 1)[: long.context]
        made = F.linear(rows[:, : spec.latent_width], weight).view(len(rows), spec.num_heads, -1)
        plain, values = made.split_with_sizes((spec.plain_width, spec.value_width), -1)
        turned = rows[:, None, spec.latent_width :].expand(-1, spec.num_heads, -1)
        queries, keys, values = _of_one_width(queries, torch.cat((plain, turned), -1), values)
        found = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=long.mask,
            is_causal=long.mask is None,
            scale=spec.scale,
        )
        out.copy_(found[0, ..., : spec.value_width].transpose(0, 1))


def _of_one_width(*rows: Tensor) -> list[Tensor]:
    """Fill heads up with zeros to the widest, as torch's fused attention wants them.

    Shapes: rows [N, H, any]; returns [1, H, N, the widest] each.
    """
    width = max(each.shape[-1] for each in rows)
    return [F.pad(each, (0, width - each.shape[-1])).transpose(0, 1)[None] for each in rows]


def _write(latent: Tensor, key: Tensor, slots: Tensor, state: Planes) -> None:
    (plane,) = state
    plane.flatten(0, 1).index_put_((slots.long(),), torch.cat((latent, key), -1))


def _read(slots: Tensor, state: Planes) -> Tensor:
    (plane,) = state
    return plane.flatten(0, 1).index_select(0, slots)
