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
STEPPED_TOKENS = 16
"""Where tokens are taken one by one, the states after all of a tile are kept at once."""

Walk = ByPlace | ByToken
Units = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Mix = Callable[[Sequence[Tensor], Rows, Walk], Tensor]


def bind_state_mixer(
    spec: MixerSpec, *, is_by_size: bool, is_invariant: bool = False
) -> StateKernel | None:
    """Give the kernel of a mixer, None for one that is not known here.

    `is_by_size` says that what runs has to follow from the sizes of a launch; `is_invariant` that
    a token gets the same bits whatever is beside it, so that it is taken alone.
    """
    match spec.op:
        case "causal_conv":
            return causal_conv(spec, is_by_size=is_by_size, is_invariant=is_invariant)
        case "selective_scan":
            return selective_scan(spec, is_by_size=is_by_size or is_invariant)
        case "gated_delta":
            return gated_delta(spec, is_by_size=is_by_size or is_invariant)
    return None


def selective_scan(spec: MixerSpec, *, is_by_size: bool) -> StateKernel:
    """Make a state that is decayed, and fed with an outer product."""
    tile = _scan_tile if _has_one_decay(spec) else _numbers_tile

    def mix(operands: Sequence[Tensor], rows: Rows, walk: Walk) -> Tensor:
        x, dt, a_log, b, c, d = operands
        wide = x.float()
        rate = -a_log.float().exp().view(x.shape[1], 1, -1)
        out = torch.zeros_like(wide)
        turn = partial(_scan, rate)
        walk.carry(turn, rows, out, wide, dt, b.float(), c.float(), tile=partial(tile, rate))
        return out.addcmul_(wide, d.float()[:, None]).to(x.dtype)

    return _kernel(spec, mix, is_by_size=is_by_size)


def gated_delta(spec: MixerSpec, *, is_by_size: bool) -> StateKernel:
    """Make a memory of keys and values that is decayed, and corrected by what it gets wrong."""
    scale = real(dict(spec.attrs), "scale")
    eps = None if spec.attr("eps") is None else real(dict(spec.attrs), "eps")
    unit = partial(_units, scale, eps)

    def mix(operands: Sequence[Tensor], rows: Rows, walk: Walk) -> Tensor:
        q, k, v, dt, a_log, beta = operands
        wide = [each.float() for each in (q, k, v)]
        fades = -a_log.float().exp() * dt
        out = torch.zeros_like(wide[2])
        turn, tile = (partial(each, unit=unit) for each in (_delta, _delta_tile))
        walk.carry(turn, rows, out, *wide, fades, beta.float(), tile=tile)
        return out.to(v.dtype)

    return _kernel(spec, mix, is_by_size=is_by_size)


def _scan(
    rate: Tensor, state: Tensor, x: Tensor, dt: Tensor, feed: Tensor, read: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a turn. Shapes: rate [H, 1, 1 or N]; state [B, H, D, N]; feed and read [B, G, N]."""
    groups = feed.shape[1]
    after = state.mul_(torch.exp(dt[:, :, None, None] * rate))
    own = after.view(len(x), groups, -1, after.shape[-1])
    own.addcmul_((x * dt[..., None]).view(len(x), groups, -1, 1), feed[:, :, None, :])
    return after, torch.matmul(own, read[..., None]).view(x.shape)


def _scan_tile(
    rate: Tensor, state: Tensor, x: Tensor, dt: Tensor, feed: Tensor, read: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a turn of Q tokens as matrices; tokens of zeros change nothing.

    Shapes: rate [H, 1, 1]; state [B, H, D, N]; x [B, Q, H, D]; feed and read [B, Q, G, N].
    Source: arXiv 2405.21060 section 6.
    """
    batch, size, heads, width = x.shape
    feed, read = feed.transpose(1, 2), read.transpose(1, 2)
    fed = (x * dt[..., None]).permute(0, 2, 1, 3)
    passed = (dt * rate.flatten()).cumsum(1).transpose(1, 2)
    weights = _between(passed).view(batch, feed.shape[1], -1, size, size)
    weights.mul_(torch.matmul(read, feed.transpose(2, 3))[:, :, None])
    groups = state.view(batch, feed.shape[1], -1, state.shape[-1])
    old = torch.matmul(groups, read.transpose(2, 3)).view(batch, heads, width, size)
    old = old.transpose(2, 3) * passed.exp()[..., None]
    left = torch.exp(passed[..., -1:] - passed)
    late = (fed * left[..., None]).transpose(2, 3).reshape(*groups.shape[:3], size)
    after = state.mul_(passed[..., -1:, None].exp())
    after.view(groups.shape).add_(torch.matmul(late, feed))
    made = torch.matmul(weights.view(batch, heads, size, size), fed).add_(old)
    return after, made.transpose(1, 2)


def _numbers_tile(
    rate: Tensor, state: Tensor, x: Tensor, dt: Tensor, feed: Tensor, read: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a turn of Q tokens where each number has a decay: one step a token, the rest at once.

    Shapes: rate [H, 1, N]; state [B, H, D, N]; x [B, Q, H, D]; feed and read [B, Q, G, N].
    """
    batch, size, heads, width = x.shape
    kept = torch.exp(dt[..., None, None] * rate)
    fed = (x * dt[..., None]).view(batch, size, feed.shape[2], -1, 1) * feed[..., None, :]
    states = fed.view(batch, size, heads, width, -1)
    for token in range(size):
        state = torch.addcmul(states[:, token], state, kept[:, token], out=states[:, token])
    return state, torch.matmul(fed, read[..., None]).view(x.shape)


def _delta(
    state: Tensor,
    query: Tensor,
    key: Tensor,
    v: Tensor,
    fade: Tensor,
    beta: Tensor,
    *,
    unit: Units,
) -> tuple[Tensor, Tensor]:
    """Take a turn. Shapes: state [B, H, Dk, Dv]; query and key [B, K, Dk]; fade, beta [B, H]."""
    query, key = (_for_heads(each, v.shape[1]) for each in unit(query, key))
    decayed = state.mul_(fade.exp()[:, :, None, None])
    known = torch.matmul(key[:, :, None, :], decayed)[:, :, 0]
    wrong = (v - known).mul_(beta[..., None])
    after = decayed.addcmul_(key[..., None], wrong[:, :, None, :])
    return after, torch.matmul(query[:, :, None, :], after)[:, :, 0]


def _delta_tile(
    state: Tensor,
    query: Tensor,
    key: Tensor,
    v: Tensor,
    fade: Tensor,
    beta: Tensor,
    *,
    unit: Units,
) -> tuple[Tensor, Tensor]:
    """Take a turn of Q tokens as matrices; tokens of zeros change nothing.

    What each token corrects depends on what those before it did, which is a triangular system.

    Shapes: state [B, H, Dk, Dv]; query and key [B, Q, K, Dk]; v [B, Q, H, Dv]; fade and beta
        [B, Q, H].
    Source: arXiv 2412.06464 section 3.3.
    """
    query, key = (_for_heads(each.transpose(1, 2), v.shape[2]) for each in unit(query, key))
    v, beta = v.transpose(1, 2), beta.transpose(1, 2)[..., None]
    passed = fade.cumsum(1).transpose(1, 2)
    between, since = _between(passed), passed.exp()[..., None]
    mixing = torch.matmul(key, key.transpose(2, 3)).mul_(between).mul_(beta)
    right = torch.matmul(key * since, state).neg_().add_(v).mul_(beta)
    wrong = torch.linalg.solve_triangular(mixing, right, upper=False, unitriangular=True)
    made = torch.matmul(query * since, state)
    made.add_(torch.matmul(torch.matmul(query, key.transpose(2, 3)).mul_(between), wrong))
    left = torch.exp(passed[..., -1:] - passed)[..., None]
    after = state.mul_(since[:, :, -1:])
    return after.add_(torch.matmul((key * left).transpose(2, 3), wrong)), made.transpose(1, 2)


def _between(passed: Tensor) -> Tensor:
    """Give what is left of each token at each later one. Shapes: [..., Q]; returns [..., Q, Q]."""
    found = passed[..., :, None] - passed[..., None, :]
    is_later = torch.ones(found.shape[-2:], dtype=torch.bool, device=found.device).triu(1)
    return found.masked_fill_(is_later, float("-inf")).exp_()


def _kernel(spec: MixerSpec, mix: Mix, *, is_by_size: bool) -> StateKernel:
    """Make a kernel: of what it is given the last are starts, source, targets and the state."""
    place, width = spec.state.place_of(spec.plane), fixed(spec.inputs[-1].shape[1])

    def run(*given: object, prepared: Walk) -> Tensor:
        *operands, _, source, targets = (tensor_of(each) for each in given[:-1])
        plane = planes_of(given[-1])[place]
        return mix(operands, Rows(plane, starting(plane, source).float(), targets), prepared)

    is_stepped = spec.op == "selective_scan" and not _has_one_decay(spec)
    size = STEPPED_TOKENS if is_stepped else TILE_TOKENS
    by_places = partial(by_place, width=width, size=size)
    prepare = partial(by_token, width=width) if is_by_size else by_places
    return in_rows(Kernel(name=f"torch.{spec.op}", run=run, prepare=prepare), spec.state)


def _has_one_decay(spec: MixerSpec) -> bool:
    """Tell whether a head has one decay, so that what passes between two tokens is one number."""
    return len(spec.inputs[2].shape) == 1


def _for_heads(x: Tensor, heads: int) -> Tensor:
    """Give each head its group's row. Shapes: [B, G, ...]; returns [B, H, ...]."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


def _units(scale: float, eps: float | None, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Give queries, multiplied by a number, and keys; both of length 1, where `eps` is one."""
    if eps is not None:
        query, key = (x * x.square().sum(-1, keepdim=True).add_(eps).rsqrt_() for x in (query, key))
    return query * scale, key
