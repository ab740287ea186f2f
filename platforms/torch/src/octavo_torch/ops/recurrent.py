"""Recurrent states: their rows, the convolution over a request's last tokens, and copies.

What the host does not know it is not asked: which token is whose follows from the starts. A
convolution is a sum of the rows shifted by one token, by two and so on; where these reach back over
a request's first token, what it started from is added. What the host does know is used where a
device lets it: where each request has one token, nothing is shifted.

Knows nothing of scans (`scans`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.inputs import StepInputs
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.program import StateSpec
from octavo_platforms.specs import CopySpec, MixerSpec, OpSpec
from octavo_torch.memory import tensor_of
from octavo_torch.ops.rows import plain, request_of
from octavo_torch.states import WRITABLE, Planes


def ring_rows(query_starts: Tensor, computed: Tensor, state_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Find the row to start from and those to end in. Shapes: [R+1], [R], [R, W]; [R], [R, W]."""
    width = state_rows.shape[1]
    before = state_rows.gather(1, (computed - 1).remainder(width).long()[:, None])[:, 0]
    places = torch.arange(-width, 0, dtype=torch.int32, device=computed.device)
    ends = torch.diff(query_starts)[:, None] + places
    after = state_rows.gather(1, (computed[:, None] + ends).remainder(width).long())
    return before.mul(computed > 0), after.mul_(ends >= 0)


def causal_conv(spec: MixerSpec, *, is_by_size: bool, is_invariant: bool = False) -> StateKernel:
    """Make a weighted sum of each channel's last values; an invariant one in one order always."""
    place = spec.state.place_of(spec.plane)

    def run(
        x: Tensor, weight: Tensor, starts: Tensor, *given: object, prepared: object = False
    ) -> Tensor:
        source, targets, state, *bias = given
        plane, rows = planes_of(state)[place], tensor_of(targets)
        past, taps = starting(plane, tensor_of(source)).to(x.dtype), weight.float()
        if prepared:
            made = torch.einsum("rkc,ck->rc", past.float(), taps[:, :-1])
            made.addcmul_(x.float(), taps[:, -1])
            after = torch.cat((past[:, 1:], x[:, None]), 1).to(plane.dtype)
            plane.index_copy_(0, rows[:, -1].long(), after)
        elif is_invariant:
            made = _in_order(x, past, taps, starts)
            _keep(x, past, starts, rows, plane)
        else:
            made = _shifted(x, taps, starts)
            made.index_add_(0, *_carried(past.float(), taps, starts, x.shape[0]))
            _keep(x, past, starts, rows, plane)
        for each in bias:
            made.add_(tensor_of(each))
        return made.to(x.dtype)

    prepare = None if is_by_size or is_invariant else _has_one_each
    return in_rows(Kernel(name="torch.causal_conv", run=run, prepare=prepare), spec.state)


def _has_one_each(inputs: StepInputs) -> bool:
    """Tell whether every request has one token, and there is no padding."""
    return inputs.shape.uniform_query == 1 and len(inputs.token_ids) == len(inputs.seat)


def _in_order(x: Tensor, past: Tensor, taps: Tensor, starts: Tensor) -> Tensor:
    """Sum up tap after tap, wherever a token's values before it come from."""
    tokens = torch.arange(x.shape[0], dtype=torch.int32, device=x.device)
    owners, made = request_of(tokens, starts), torch.zeros_like(x, dtype=torch.float32)
    for tap in range(taps.shape[1]):
        seen = _before(x, past, starts, owners, tokens + (tap + 1 - taps.shape[1]))
        made.addcmul_(seen.float(), taps[:, tap])
    return made


def _shifted(x: Tensor, taps: Tensor, starts: Tensor) -> Tensor:
    """Sum each request's own rows up. Shapes: x [T, C]; taps [C, K]; returns float32 [T, C]."""
    wide, last = x.float(), taps.shape[1] - 1
    made = wide * taps[:, last]
    tokens = torch.arange(x.shape[0], dtype=torch.int32, device=x.device)
    within = tokens - starts[:-1][request_of(tokens, starts).long()]
    for ago in range(1, min(last + 1, x.shape[0])):
        is_own = (within[ago:] >= ago)[:, None]
        made[ago:].addcmul_(wide[:-ago].where(is_own, 0.0), taps[:, last - ago])
    return made


def _carried(past: Tensor, taps: Tensor, starts: Tensor, num_tokens: int) -> tuple[Tensor, Tensor]:
    """Give what requests started from adds to their first tokens, and to which tokens.

    Shapes: past [R, K-1, C]; taps [C, K]; returns [R * (K-1)], and as many rows of C.
    """
    depth = past.shape[1]
    ways = taps.new_zeros(depth, depth, taps.shape[0])
    for place in range(depth):
        ways[place, place:] = taps[:, : depth - place].t()
    made = torch.einsum("rkc,pkc->rpc", past, ways)
    places = torch.arange(depth, dtype=torch.int32, device=past.device)
    is_there = places < torch.diff(starts)[:, None]
    at = (starts[:-1, None] + places).where(is_there, 0).clamp_(max=max(0, num_tokens - 1))
    return at.flatten(), made.where(is_there[..., None], 0.0).flatten(0, 1)


def _keep(x: Tensor, past: Tensor, starts: Tensor, targets: Tensor, plane: Tensor) -> None:
    """Write each request's last values behind each of its last tokens."""
    num_requests, width = targets.shape
    depth = past.shape[1]
    ends = starts[1:, None] + torch.arange(-width, 0, dtype=torch.int32, device=x.device)
    back = torch.arange(1 - depth, 1, dtype=torch.int32, device=x.device)
    owners = torch.arange(num_requests, dtype=torch.int32, device=x.device)[:, None, None]
    made = _before(x, past, starts, owners, ends[:, :, None] + back)
    rows = targets * (ends >= starts[:-1, None])
    plane.index_copy_(0, rows.flatten().long(), made.flatten(0, 1).to(plane.dtype))


def _before(x: Tensor, past: Tensor, starts: Tensor, owners: Tensor, at: Tensor) -> Tensor:
    """Give rows of x, and for places before their owner's first token what it had there.

    Shapes: x [T, C]; past [R, K-1, C]; owners and at broadcast to [...]; returns [..., C].
    """
    ago = at - starts[:-1][owners.long()]
    own = x[at.clamp(0, max(0, x.shape[0] - 1)).long()]
    old = past[owners.long(), (past.shape[1] + ago).clamp(0, past.shape[1] - 1).long()]
    return torch.where((ago >= 0)[..., None], own, old)


def planes_of(state: object) -> Planes:
    """See a state as what it is here."""
    assert isinstance(state, tuple)
    return state


def starting(plane: Tensor, source: Tensor) -> Tensor:
    """Give the states that requests start from, zeros for row 0, as a copy.

    Effects: row 0, whose content nobody relies on, becomes zeros, so that no state need be looked
        at twice.
    """
    plane[0].zero_()
    return plane.index_select(0, source)


def state_copy(spec: CopySpec) -> StateKernel:
    """Make blocks or rows what others are."""
    own = StateLayout("as named", spec.state.axes)

    def at(layout: StateLayout) -> Kernel:
        axis_of = [
            [axis for axis in layout.axes if axis in ("B", "P", *plane.axes)].index("B")
            for plane in spec.state.planes
        ]

        def run(sources: Tensor, targets: Tensor, state: Planes) -> None:
            for plane, axis in zip(state, axis_of, strict=True):
                plane.index_copy_(axis, targets.long(), plane.index_select(axis, sources))

        return Kernel(name="torch.state_copy", run=run)

    layouts = WRITABLE if own in WRITABLE else (own,)
    return StateKernel(name="torch.state_copy", layouts=layouts, at=at)


def in_rows(kernel: Kernel, state: StateSpec) -> StateKernel:
    """Offer a kernel on rows of a recurrent state, whose axes stand as they are named."""
    layouts = (StateLayout("rows first", state.axes),)
    return StateKernel(name=kernel.name, layouts=layouts, at=lambda layout: kernel)


def _time_steps(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    low = real(attrs, "low")
    high = None if attrs["high"] is None else real(attrs, "high")

    def run(x: Tensor, bias: Tensor) -> Tensor:
        return F.softplus(x.float() + bias.float()).clamp_(low, high)

    return Kernel(name="torch.time_steps", run=run)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"ring_rows": plain("ring_rows", ring_rows), "time_steps": _time_steps}
)
