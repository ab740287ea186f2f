"""Scans: states that decay, are fed, and are read, token after token, in float32.

What can be made of all tokens at once is; a turn of the walk does the rest.

Knows nothing of the order in which tokens come (`walks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from octavo_platforms.ops.op import fixed, real
from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import MixerSpec
from octavo_torch.memory import tensor_of
from octavo_torch.ops.recurrent import causal_conv, in_rows, planes_of, starting
from octavo_torch.ops.walks import ByPlace, ByToken, Rows, by_place, by_token

TILE_TOKENS = 64

Walk = ByPlace | ByToken
Mix = Callable[[Sequence[Tensor], Rows, Walk], Tensor]


def bind_state_mixer(spec: MixerSpec, *, is_by_size: bool) -> StateKernel | None:
    """Give the kernel of a mixer, None for one that is not known here.

    `is_by_size` says that what runs has to follow from the sizes of a launch.
    """
    match spec.op:
        case "causal_conv":
            return causal_conv(spec)
        case "selective_scan":
            return selective_scan(spec, is_by_size=is_by_size)
        case "gated_delta":
            return gated_delta(spec, is_by_size=is_by_size)
    return None


def selective_scan(spec: MixerSpec, *, is_by_size: bool) -> StateKernel:
    """Make a state that is decayed, and fed with an outer product."""

    def mix(operands: Sequence[Tensor], rows: Rows, walk: Walk) -> Tensor:
        x, dt, a_log, b, c, d = operands
        heads, wide = x.shape[1], x.float()
        rate = -a_log.float().exp().view(heads, 1, -1)
        feed, read = (_for_heads(each, heads) for each in (b, c))
        out = torch.zeros_like(wide)
        tile = partial(_scan_tile, rate) if _is_tiled(spec) else None
        walk.carry(partial(_scan, rate), rows, out, wide, dt, feed, read, tile=tile)
        return out.add_(wide * d.float()[:, None]).to(x.dtype)

    return _kernel(spec, mix, is_by_size=is_by_size)


def gated_delta(spec: MixerSpec, *, is_by_size: bool) -> StateKernel:
    """Make a memory of keys and values that is decayed, and corrected by what it gets wrong."""
    scale = real(dict(spec.attrs), "scale")
    eps = None if spec.attr("eps") is None else real(dict(spec.attrs), "eps")

    def mix(operands: Sequence[Tensor], rows: Rows, walk: Walk) -> Tensor:
        q, k, v, dt, a_log, beta = operands
        query, key = (_for_heads(_unit(each.float(), eps), v.shape[1]) for each in (q, k))
        kept = torch.exp(-a_log.float().exp() * dt)
        out = torch.zeros_like(v, dtype=torch.float32)
        walk.carry(_delta, rows, out, query * scale, key, v.float(), kept, beta.float())
        return out.to(v.dtype)

    return _kernel(spec, mix, is_by_size=is_by_size)


def _scan(
    rate: Tensor, state: Tensor, x: Tensor, dt: Tensor, feed: Tensor, read: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a turn. Shapes: rate [H, 1, 1 or N]; state [B, H, D, N]; read [B, H, N]."""
    step = dt[:, :, None]
    after = state.mul_(torch.exp(step[..., None] * rate))
    after.addcmul_((step * x)[..., None], feed[:, :, None, :])
    return after, torch.matmul(after, read[..., None])[..., 0]


def _scan_tile(
    rate: Tensor, state: Tensor, x: Tensor, dt: Tensor, feed: Tensor, read: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a turn of Q tokens as matrices; tokens of zeros change nothing.

    Shapes: rate [H, 1, 1]; state [B, H, D, N]; x [B, Q, H, D]; read [B, Q, H, N].
    Source: arXiv 2405.21060 section 6.
    """
    fed, feed, read = (
        (x * dt[..., None]).transpose(1, 2),
        feed.transpose(1, 2),
        read.transpose(1, 2),
    )
    passed = (dt * rate.flatten()).cumsum(1).transpose(1, 2)
    between = passed[..., :, None] - passed[..., None, :]
    is_later = torch.ones(between.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
    weights = torch.matmul(read, feed.transpose(2, 3))
    weights.mul_(between.masked_fill_(is_later, float("-inf")).exp_())
    old = torch.matmul(read, state.transpose(2, 3)).mul_(passed.exp()[..., None])
    left = torch.exp(passed[..., -1:] - passed)
    new = torch.matmul((fed * left[..., None]).transpose(2, 3), feed)
    after = state.mul_(passed[..., -1:, None].exp()).add_(new)
    return after, torch.matmul(weights, fed).add_(old).transpose(1, 2)


def _delta(
    state: Tensor, query: Tensor, key: Tensor, v: Tensor, kept: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a turn. Shapes: state [B, H, Dk, Dv]; query and key [B, H, Dk]; kept, beta [B, H]."""
    decayed = state.mul_(kept[:, :, None, None])
    known = torch.matmul(key[:, :, None, :], decayed)[:, :, 0]
    wrong = (v - known).mul_(beta[..., None])
    after = decayed.addcmul_(key[..., None], wrong[:, :, None, :])
    return after, torch.matmul(query[:, :, None, :], after)[:, :, 0]


def _kernel(spec: MixerSpec, mix: Mix, *, is_by_size: bool) -> StateKernel:
    """Make a kernel: of what it is given the last are starts, source, targets and the state."""
    place, width = spec.state.place_of(spec.plane), fixed(spec.inputs[-1].shape[1])

    def run(*given: object, prepared: Walk) -> Tensor:
        *operands, _, source, targets = (tensor_of(each) for each in given[:-1])
        plane = planes_of(given[-1])[place]
        return mix(operands, Rows(plane, starting(plane, source).float(), targets), prepared)

    tile = TILE_TOKENS if _is_tiled(spec) else 1
    by_places = partial(by_place, width=width, size=tile)
    prepare = partial(by_token, width=width) if is_by_size else by_places
    return in_rows(Kernel(name=f"torch.{spec.op}", run=run, prepare=prepare), spec.state)


def _is_tiled(spec: MixerSpec) -> bool:
    """Tell whether a head has one decay, so that what passes between two tokens is one number."""
    return spec.op == "selective_scan" and len(spec.inputs[2].shape) == 1


def _for_heads(x: Tensor, heads: int) -> Tensor:
    """Give each head its group's row, in float32. Shapes: [T, G, N]; returns [T, H, N]."""
    return x.float().repeat_interleave(heads // x.shape[1], 1)


def _unit(x: Tensor, eps: float | None) -> Tensor:
    return x if eps is None else x * x.square().sum(-1, keepdim=True).add_(eps).rsqrt_()
