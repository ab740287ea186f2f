"""Walks: in which order a step's tokens meet the states of their requests.

    requests   a a a a a   b   c c      tokens of three requests, ending in a row each
    by place   [a] [a] [a] [a] [a c b]  what leads up to the last ones first, in tiles of some
                                        tokens where a mixer can; then the last ones, of which
               ~~~ [a c] ~~~            states are kept, all requests at once
    by token   [a] [a] [a] [a] ...      one turn for each token that the sizes allow

By place takes as many turns as the longest request has tiles. What by token does follows from
the sizes of the launch alone, for devices that compile each new shape.

All states are read before any is written. Knows nothing of what a state is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from octavo_platforms.inputs import StepInputs
from octavo_platforms.tensor import Array
from octavo_torch.parcel import Cargo, Parcel

Longs = npt.NDArray[np.int64]
Turn = Callable[..., tuple[Tensor, Tensor]]
"""Takes states [B, ...] and tensors of their next tokens; gives new states and results [B, ...].

Effects: the states it takes may be overwritten.
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """A plane, the rows that its requests start from, as states, and those that they end in.

    Shapes: plane [B, ...]; before float32 [R, ...]; targets int32 [R, W].
    """

    plane: Tensor
    before: Tensor
    targets: Tensor

    def keep(self, rows: Tensor, states: Tensor) -> None:
        """Write states into rows."""
        self.plane.index_copy_(0, rows, states.to(self.plane.dtype))


@dataclass(frozen=True, slots=True)
class Run:
    """Tiles of tokens, turn by turn: one of each request that has so many.

    `counts` are how many requests take part in each turn, the first of the order.

    Shapes: tokens [A, Q], 0 where a tile is not full; filled [X] or None, which places of [A * Q]
        are, None where all. `is_plain` says that tokens are in order as they stand, each a tile.
    """

    counts: tuple[int, ...]
    tokens: Tensor
    filled: Tensor | None
    is_plain: bool = False

    def ordered(self, x: Tensor) -> Tensor:
        """Give tokens in order. Shapes: x [T, ...]; [A, Q, ...], or [A, ...] in tiles of one."""
        if self.is_plain:
            return x
        found = x.index_select(0, self.tokens.flatten())
        if self.filled is not None:
            kept = torch.zeros_like(found)
            kept[self.filled] = found[self.filled]
            found = kept
        return found if self.tokens.shape[1] == 1 else found.view(*self.tokens.shape, *x.shape[1:])

    def spread(self, made: Sequence[Tensor], out: Tensor) -> None:
        """Put what turns made where their tokens stand. Shapes: out [T, ...]."""
        if self.is_plain:
            torch.cat(list(made), out=out)
            return
        found = torch.cat(list(made)).to(out.dtype).view(-1, *out.shape[1:])
        tokens = self.tokens.flatten()
        if self.filled is not None:
            found, tokens = found[self.filled], tokens[self.filled]
        out.index_copy_(0, tokens, found)


@dataclass(frozen=True, slots=True)
class ByPlace:
    """What leads up to requests' last tokens, then these, of which every state is kept.

    Shapes: requests [R'], the longest first, None where they all stand so already; kept [A],
        where in targets, seen as one axis, the row of the state after each last token stands.
    """

    lead: Run
    last: Run
    requests: Tensor | None
    kept: Tensor

    def carry(
        self, turn: Turn, rows: Rows, out: Tensor, *operands: Tensor, tile: Turn | None = None
    ) -> None:
        """Walk. Shapes: operands [T, ...]; out [T, ...], which is filled; a tile's [B, Q, ...]."""
        states = rows.before
        if self.requests is not None:
            states = states.index_select(0, self.requests)
        ends = rows.targets.flatten().index_select(0, self.kept).long()
        for run, each in ((self.lead, tile or turn), (self.last, turn)):
            ordered, made, start = [run.ordered(operand) for operand in operands], [], 0
            for count in run.counts:
                part = slice(start, start + count)
                after, found = each(states[:count], *(given[part] for given in ordered))
                states = after if count == len(states) else torch.cat((after, states[count:]))
                made.append(found)
                if run is self.last:
                    rows.keep(ends[part], after)
                start += count
            if made:
                run.spread(made, out)


def by_place(inputs: StepInputs, *, width: int, size: int = 1) -> Parcel:
    """Sort a step by place, what leads up to the last `width` tokens in tiles of `size`."""
    lengths: Longs = np.diff(inputs.query_starts).astype(np.int64)
    order = np.argsort(-lengths, kind="stable")
    order = order[: np.count_nonzero(lengths)]
    falling, starts = lengths[order], inputs.query_starts[order].astype(np.int64)
    lead = np.maximum(falling - width, 0)
    last = falling - lead
    lead_counts, lead_tokens, is_filled = _tiles(starts, lead, size)
    last_counts, last_tokens, _ = _tiles(starts + lead, last, 1)
    kept = [
        order[:count] * width + width - last[:count] + place
        for place, count in enumerate(last_counts)
    ]
    filled = np.flatnonzero(is_filled)
    cargo = (lead_tokens, filled, last_tokens, order, np.concatenate([*kept, order[:0]]))
    is_full = len(filled) == is_filled.size
    is_sorted = np.array_equal(order, np.arange(len(lengths)))
    is_plain = np.array_equal(last_tokens[:, 0], np.arange(len(inputs.token_ids)))
    run = partial(
        _by_place,
        lead_counts,
        last_counts,
        is_full=is_full,
        is_sorted=is_sorted,
        is_plain=is_plain,
    )
    return Parcel(_longs(*cargo), run)


def _tiles(starts: Longs, lengths: Longs, size: int) -> tuple[tuple[int, ...], Longs, Array]:
    """Cut runs of falling lengths; gives counts, tokens [A, size] and which of these are any."""
    first = np.arange(0, lengths[0] if len(lengths) else 0, size)
    counts = tuple(np.count_nonzero(lengths > first[:, None], axis=1).tolist())
    offsets = [np.repeat(at, count) for at, count in zip(first, counts, strict=True)]
    place = np.concatenate([*offsets, first[:0]])[:, None] + np.arange(size)
    owner = np.concatenate([*(np.arange(count) for count in counts), first[:0]]).astype(np.int64)
    is_there = place < lengths[owner][:, None]
    return counts, np.where(is_there, starts[owner][:, None] + place, 0), is_there


def _by_place(
    lead: tuple[int, ...],
    last: tuple[int, ...],
    tensors: Sequence[Tensor],
    *,
    is_full: bool,
    is_sorted: bool,
    is_plain: bool,
) -> ByPlace:
    lead_tokens, filled, last_tokens, requests, kept = tensors
    leading = Run(lead, lead_tokens, None if is_full else filled)
    own = None if is_sorted else requests
    return ByPlace(leading, Run(last, last_tokens, None, is_plain=is_plain), own, kept)


@dataclass(frozen=True, slots=True)
class ByToken:
    """Turns of one token each.

    Shapes: requests [T], whose each token is; is_first bool [T], whether its state is what the
        request starts from, and not the one of the turn before; kept [T], where in targets, seen
        as one axis, with the null row behind it, the row of the state after it stands.
    """

    requests: Tensor
    is_first: Tensor
    kept: Tensor

    def carry(
        self, turn: Turn, rows: Rows, out: Tensor, *operands: Tensor, tile: Turn | None = None
    ) -> None:
        """Walk, by tokens whether there are tiles or not. Shapes: operands and out [T, ...]."""
        null = rows.targets.new_zeros(1)
        ends = torch.cat((rows.targets.flatten(), null)).index_select(0, self.kept).long()
        axes = (1,) * (rows.before.dim() - 1)
        state = torch.zeros_like(rows.before[:1])
        for token in range(out.shape[0]):
            at = slice(token, token + 1)
            before = rows.before.index_select(0, self.requests[at])
            state = torch.where(self.is_first[at].view(-1, *axes), before, state)
            state, found = turn(state, *(each[at] for each in operands))
            out[at] = found.to(out.dtype)
            rows.keep(ends[at], state)


def by_token(inputs: StepInputs, *, width: int) -> Parcel:
    """Give every token a turn. `width` is how many rows each request ends in."""
    starts, tokens = inputs.query_starts, np.arange(len(inputs.token_ids))
    num_requests = len(starts) - 1
    requests = np.minimum(np.searchsorted(starts[1:], tokens, side="right"), num_requests - 1)
    within, lengths = tokens - starts[:-1][requests], np.diff(starts)[requests]
    places = width - lengths + within
    is_kept = (tokens < starts[-1]) & (places >= 0)
    kept = np.where(is_kept, requests * width + places, num_requests * width)
    is_first: Cargo = (within == 0, "bool")
    first, last = _longs(requests, kept)
    return Parcel((first, is_first, last), _by_token)


def _by_token(tensors: Sequence[Tensor]) -> ByToken:
    return ByToken(*tensors)


def _longs(*arrays: Array) -> tuple[Cargo, ...]:
    return tuple((array.astype(np.int64, copy=False), "int64") for array in arrays)
