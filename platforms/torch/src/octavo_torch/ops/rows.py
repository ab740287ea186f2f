"""Rows and counters: gathers, views, and what a step's causes imply.

Views cost nothing but their call. Unsigned numbers, of which torch knows little, are moved
as signed ones of the same bits.

Knows nothing of features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.graph import TensorType
from octavo_platforms.ops.op import fixed
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def embedding(table: Tensor, ids: Tensor) -> Tensor:
    """Look ids up. Shapes: [V, E], [T]; returns [T, E]."""
    return table.index_select(0, ids)


def gather_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Pick rows. Shapes: [A, ...], [S]; returns [S, ...]."""
    return movable(x).index_select(0, rows).view(x.dtype)


def scatter_rows(buffer: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write rows. Shapes: [N, ...], [U], [U, ...]. Effects: buffer[rows] = values."""
    movable(buffer).index_copy_(0, rows.long(), movable(values))


def movable(x: Tensor) -> Tensor:
    """See a tensor in a dtype that every op moves; the same bits."""
    signed = _SIGNED.get(x.dtype)
    return x if signed is None else x.view(signed)


def positions(token_ids: Tensor, query_starts: Tensor, computed: Tensor) -> Tensor:
    """Tell where each token stands in its context, padding at 0.

    Shapes: [T], [R+1], [R]; returns [T].
    """
    tokens = _count(token_ids)
    first = computed - query_starts[:-1]
    found = tokens + first.index_select(0, request_of(tokens, query_starts))
    return found.mul_(tokens < query_starts[-1:])


def request_of(rows: Tensor, query_starts: Tensor) -> Tensor:
    """Tell which request each row is of, the last for padding. Shapes: [S], [R+1]; returns [S]."""
    found = torch.searchsorted(query_starts[1:], rows, right=True, out_int32=True)
    return found.clamp_(max=query_starts.shape[0] - 2)


def slots(at: Tensor, query_starts: Tensor, table: Tensor, *, block_size: int) -> Tensor:
    """Tell where each position's keys are kept, padding's in slot 0.

    Shapes: [T], [R+1], [R, M]; returns [T].
    """
    tokens = _count(at)
    requests = request_of(tokens, query_starts)
    entries = requests * table.shape[1] + torch.div(at, block_size, rounding_mode="floor")
    blocks = table.reshape(-1).index_select(0, entries)
    return (blocks * block_size).add_(at.remainder(block_size)).mul_(tokens < query_starts[-1:])


def _count(like: Tensor) -> Tensor:
    return torch.arange(like.shape[0], dtype=torch.int32, device=like.device)


def _slots(spec: OpSpec) -> Kernel:
    block_size = spec.attr("block_size")
    assert isinstance(block_size, int)

    def run(at: Tensor, query_starts: Tensor, table: Tensor) -> Tensor:
        return slots(at, query_starts, table, block_size=block_size)

    return Kernel(name="torch.slots", run=run)


def _split(spec: OpSpec) -> Kernel:
    found = spec.attr("sizes")
    assert isinstance(found, tuple)
    sizes = [size for size in found if isinstance(size, int)]

    def run(x: Tensor) -> tuple[Tensor, ...]:
        return torch.split_with_sizes(x, sizes, -1)

    return Kernel(name="torch.split", run=run)


def _heads(spec: OpSpec) -> Kernel:
    (made,) = spec.outputs
    assert isinstance(made, TensorType)
    heads, width = (fixed(size) for size in made.shape[1:])

    def run(x: Tensor) -> Tensor:
        return x.view(x.shape[0], heads, width)

    return Kernel(name="torch.heads", run=run)


def flatten(x: Tensor) -> Tensor:
    """Join heads; a copy only where the rows are not contiguous. Shapes: [T, H, D]."""
    return x.flatten(1)


def plain(name: str, run: Callable[..., object]) -> Callable[[OpSpec], Kernel]:
    """Give a maker of one kernel, whatever the spec."""
    kernel = Kernel(name=f"torch.{name}", run=run)
    return lambda spec: kernel


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "embedding": plain("embedding", embedding),
        "gather_rows": plain("gather_rows", gather_rows),
        "scatter_rows": plain("scatter_rows", scatter_rows),
        "positions": plain("positions", positions),
        "slots": _slots,
        "split": _split,
        "heads": _heads,
        "flatten": plain("flatten", flatten),
    }
)
