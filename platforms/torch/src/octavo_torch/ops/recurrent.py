"""Recurrent states: their rows, the convolution over a request's last tokens, and copies.

What the host does not know it is not asked: which token is whose follows from the starts, and
every token gathers what it needs, from its own request or from the row that this started from.

Knows nothing of scans (`scans`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

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


def causal_conv(spec: MixerSpec) -> StateKernel:
    """Make a weighted sum of each channel's last values."""
    place = spec.state.place_of(spec.plane)

    def run(x: Tensor, weight: Tensor, starts: Tensor, *given: object) -> Tensor:
        source, targets, state, *bias = given
        plane = planes_of(state)[place]
        past = starting(plane, tensor_of(source)).to(x.dtype)
        tokens = torch.arange(x.shape[0], dtype=torch.int32, device=x.device)
        owners = request_of(tokens, starts)
        taps = torch.arange(1 - weight.shape[1], 1, dtype=torch.int32, device=x.device)
        seen = _before(x, past, starts, owners[:, None], tokens[:, None] + taps)
        made = torch.einsum("tkc,ck->tc", seen.float(), weight.float())
        _keep(x, past, starts, tensor_of(targets), plane)
        for each in bias:
            made.add_(tensor_of(each))
        return made.to(x.dtype)

    return in_rows(Kernel(name="torch.causal_conv", run=run), spec.state)


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
    """Give the states that requests start from, zeros for row 0, as a copy."""
    found = plane.index_select(0, source)
    return found.masked_fill_((source == 0).view(-1, *(1 for _ in plane.shape[1:])), 0)


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
