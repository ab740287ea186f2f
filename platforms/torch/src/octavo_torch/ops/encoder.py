"""Encoders: attention both ways within a request, and the mean of its rows.

Requests are attended to one by one; where each one's rows lie is host data, so nobody waits for
the device to learn it. Where rows see only their neighbours, a request is walked in bands, so that
its cost grows with its length and not with the square of it.

Knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.inputs import StepInputs
from octavo_platforms.ops.encoder import reach_of
from octavo_platforms.ops.op import real
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.rows import plain

Runs = tuple[slice, ...]

BAND_TOKENS = 128


def runs_of(inputs: StepInputs) -> Runs:
    """Tell where the rows of each request with any tokens lie."""
    starts = inputs.query_starts.tolist()
    return tuple(slice(start, stop) for start, stop in pairwise(starts) if start < stop)


def _encoder_attention(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    scale, reach = real(attrs, "scale"), reach_of(attrs)

    def run(q: Tensor, k: Tensor, v: Tensor, query_starts: Tensor, *, prepared: Runs) -> Tensor:
        found = torch.zeros_like(q)
        groups = q.shape[1] // k.shape[1]
        for own in prepared:
            keys, values = (
                each[own].transpose(0, 1).repeat_interleave(groups, 0)[None] for each in (k, v)
            )
            asked = q[own].transpose(0, 1)[None]
            for rows, seen in bands(own.stop - own.start, *reach):
                made = F.scaled_dot_product_attention(
                    asked[:, :, rows],
                    keys[:, :, seen],
                    values[:, :, seen],
                    attn_mask=_band(rows, seen, *reach, device=q.device),
                    scale=scale,
                )
                found[own][rows] = made[0].transpose(0, 1)
        return found

    return Kernel(name="torch.encoder_attention", run=run, prepare=runs_of)


def bands(length: int, before: int | None, after: int | None) -> Iterator[tuple[slice, slice]]:
    """Cut a request's rows, and tell which rows each part sees any of: all at once, or few.

    rows   |.....|#####|.........|        seen   |...|#########|.......|
    """
    if _sees_all(length, before, after):
        yield slice(0, length), slice(0, length)
        return
    for start in range(0, length, BAND_TOKENS):
        stop = min(start + BAND_TOKENS, length)
        first = 0 if before is None else max(0, start - before)
        last = length if after is None else min(length, stop + after)
        yield slice(start, stop), slice(first, last)


def _sees_all(length: int, before: int | None, after: int | None) -> bool:
    return all(each is None or each >= length - 1 for each in (before, after))


def _band(
    rows: slice, seen: slice, before: int | None, after: int | None, *, device: torch.device
) -> Tensor | None:
    """Tell which rows see which: bool [rows, seen], None where all see all."""
    if _sees_all(max(rows.stop - seen.start, seen.stop - rows.start), before, after):
        return None
    at = torch.arange(rows.start, rows.stop, device=device)[:, None]
    far = torch.arange(seen.start, seen.stop, device=device) - at
    found = torch.ones_like(far, dtype=torch.bool)
    if before is not None:
        found &= far >= -before
    if after is not None:
        found &= far <= after
    return found


def mean_rows(x: Tensor, query_starts: Tensor) -> Tensor:
    """Give each request's mean. Shapes: x [T, E]; query_starts [R+1]; returns [R, E]."""
    tokens = torch.arange(x.shape[0], dtype=query_starts.dtype, device=x.device)
    owners = torch.searchsorted(query_starts[1:], tokens, right=True)
    num_requests = query_starts.shape[0] - 1
    # One row more than there are requests, for padding.
    sums = torch.zeros(num_requests + 1, x.shape[1], dtype=torch.float32, device=x.device)
    sums.index_add_(0, owners, x.float())
    counts = query_starts.diff().clamp_(min=1)
    return (sums[:num_requests] / counts[:, None]).to(x.dtype)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"encoder_attention": _encoder_attention, "mean_rows": plain("mean_rows", mean_rows)}
)
