"""A step's requests, sorted out for attention, once for all its layers.

Requests with one new token go into buckets of similar length, each one batch of matrices,
padded to its longest; a bucket costs a fixed number of calls, so few buckets waste padding
and many waste calls. Requests with more new tokens are attended to one by one.

    lengths in blocks   40 39 37 | 21 20 | 6 5 5 3       three buckets

Everything follows from host arrays. What a gathered bucket holds beyond a request's context
is made harmless: padding reads the request's own first block, which is full of valid slots, and
`tail` names the slots that nobody has written, of last blocks and of first ones that are not
full. A mate's slots are never read: a weight of zero makes no number of what is none. With a
window, a request's context starts with the first block that any of its new tokens sees.

Knows nothing of layouts or of how a bucket is attended to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from octavo_platforms.inputs import Ints, StepInputs

Longs = npt.NDArray[np.int64]
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests with one new token.

    Slots past `context` are not looked at. A lone request's own context needs no mask; several
    are quicker looked at to the end of their blocks, because a batch of cut matrices is copied.

    Shapes: tokens [R], None where they are all tokens of the step in order; blocks [R * M];
        tail [X], slots of the gathered [R * S]; mask [R, 1, 1, context], 0 or -inf, None where
        nothing is hidden; away [R, 1, 1, context], from query to key, None where nobody asks.
    """

    num_requests: int
    num_blocks: int
    context: int
    tokens: Tensor | None
    blocks: Tensor
    tail: Tensor | None
    mask: Tensor | None
    away: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Long:
    """One request with several new tokens, start to stop, the last of `context` positions.

    Shapes: blocks [M]; mask [stop - start, context], None where the request has no past; away
        the same, None where nobody asks.
    """

    start: int
    stop: int
    context: int
    blocks: Tensor
    mask: Tensor | None
    away: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Sorted:
    """A step's requests: buckets of single tokens, and the others."""

    buckets: tuple[Bucket, ...]
    longs: tuple[Long, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorter:
    """How to sort: what a bucket costs and may hold, in blocks, and what masks are made of.

    `has_away` asks for how far keys are from queries as well.

    Units: `window` is how many tokens are seen, None for all.
    """

    group: str
    block_size: int
    bucket_cost_blocks: int
    max_bucket_blocks: int
    mask_dtype: torch.dtype
    device: torch.device
    window: int | None = None
    has_away: bool = False

    def __call__(self, inputs: StepInputs) -> Sorted:
        """Sort a step's requests out."""
        table, past = self._seen(inputs)
        queries = np.diff(inputs.query_starts)
        lengths = past + queries
        single = np.flatnonzero(queries == 1)
        num_blocks = -(-lengths[single] // self.block_size)
        parts = [
            single[part]
            for part in split(num_blocks, self.bucket_cost_blocks, self.max_bucket_blocks)
        ]
        is_all = len(parts) == 1 and len(single) == len(queries) == len(inputs.token_ids)
        buckets = tuple(
            self._bucket(
                np.sort(part) if is_all else part,
                lengths,
                table,
                tokens=None if is_all else inputs.query_starts[part],
            )
            for part in parts
        )
        longs = tuple(self._longs(inputs.query_starts, past, table, np.flatnonzero(queries > 1)))
        return Sorted(buckets, longs)

    def _seen(self, inputs: StepInputs) -> tuple[Ints, Ints]:
        """Give block tables from the first block that is seen, and the positions computed in it."""
        table = inputs.groups[self.group].block_table
        if self.window is None:
            return table, inputs.computed
        unseen = np.maximum(inputs.computed - (self.window - 1), 0) // self.block_size
        width = table.shape[1]
        at = np.minimum(unseen[:, None] + np.arange(width), width - 1)
        past = inputs.computed - unseen * self.block_size
        return np.take_along_axis(table, at, 1), past.astype(np.int32)

    def _bucket(self, part: Longs, lengths: Ints, table: Ints, *, tokens: Ints | None) -> Bucket:
        size = self.block_size
        own = lengths[part]
        own_blocks = -(-own // size)
        width = int(own_blocks.max())
        blocks = table[part, :width].astype(np.int64)
        # Padding reads the request's own first block, so that no mate's numbers come near it.
        blocks = np.where(np.arange(width) >= own_blocks[:, None], blocks[:, :1], blocks)
        context = int(own[0]) if len(part) == 1 else width * size
        ends = np.where(own < size, width, own_blocks) * size
        past = own[:, None] + np.arange(int((ends - own).max()))
        rest = past < np.minimum(ends, context)[:, None]
        tail = (past + np.arange(len(part))[:, None] * (width * size))[rest]
        mask = None
        window = context if self.window is None else self.window
        if int(own.min()) < context or int(own.max()) > window:
            slots = np.arange(context)
            hidden = (slots >= own[:, None]) | (slots < own[:, None] - window)
            mask = self._mask(np.where(hidden, np.float32(NEVER), np.float32(0.0)))
        return Bucket(
            num_requests=len(part),
            num_blocks=width,
            context=context,
            tokens=None if tokens is None else self._moved(tokens.astype(np.int64)),
            blocks=self._moved(blocks.reshape(-1)),
            tail=self._moved(tail.astype(np.int64)) if tail.size else None,
            mask=None if mask is None else mask[:, None, None],
            away=self._away(own[:, None, None, None] - 1, context),
        )

    def _longs(self, starts: Ints, pasts: Ints, table: Ints, requests: Longs) -> Iterator[Long]:
        for request in requests:
            start, stop = (int(each) for each in starts[request : request + 2])
            past = int(pasts[request])
            context = past + stop - start
            blocks = table[request, : -(-context // self.block_size)].astype(np.int64)
            window = context if self.window is None else self.window
            mask = None
            if past or context > window:
                never = torch.full(
                    (stop - start, context), NEVER, dtype=self.mask_dtype, device=self.device
                )
                mask = never.triu(past + 1)
                if context > window:
                    mask += never.tril(past - window)
            away = self._away(np.arange(past, context, dtype=np.int32)[:, None], context)
            yield Long(start, stop, context, self._moved(blocks), mask, away)

    def _away(self, positions: Ints, context: int) -> Tensor | None:
        """Give how far each slot is from each query, if anybody asks."""
        if not self.has_away:
            return None
        asking = torch.from_numpy(positions).to(self.device, non_blocking=True)
        return how_far(torch.arange(context, device=self.device), asking)

    def _mask(self, values: npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self.device, self.mask_dtype, non_blocking=True)

    def _moved(self, values: Longs) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


def how_far(keys: Tensor, queries: Tensor) -> Tensor:
    """Give how far keys are from queries, by their positions; what comes later is hidden, and 0.

    Dtypes: float32, which has every distance that there is.
    """
    return (keys - queries).clamp_(max=0).float()


def split(num_blocks: Ints, cost: int, most: int) -> Sequence[Longs]:
    """Part requests into buckets so that padding plus `cost` for each bucket is least.

    Each bucket holds at most `most` blocks, padding included, or one request.

    Shapes: num_blocks [R], the blocks of each request; returns index arrays, longest first.
    Source: the partition of a sorted list by dynamic programming over its distinct values.
    """
    if not len(num_blocks):
        return ()
    order = np.argsort(-num_blocks, kind="stable")
    widths, first = np.unique(-num_blocks[order], return_index=True)
    widths = -widths
    ends = np.append(first, len(order))
    best = np.zeros(len(ends))
    cut = np.zeros(len(ends), np.int64)
    for end in range(1, len(ends)):
        costs = best[:end] + cost + (ends[end] - ends[:end]) * widths[:end]
        cut[end] = np.argmin(costs)
        best[end] = costs[cut[end]]
    found: list[Longs] = []
    end = len(ends) - 1
    while end:
        begin = int(cut[end])
        part = order[ends[begin] : ends[end]]
        fits = max(1, most // int(widths[begin]))
        found = [part[at : at + fits] for at in range(0, len(part), fits)] + found
        end = begin
    return found
