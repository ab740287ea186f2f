"""Walks: both orders carry the same states, and one of them does the same whatever is in a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from octavo_platforms.inputs import Ints, StepInputs, StepShape
from octavo_torch.ops.walks import ByPlace, ByToken, Rows, Turn, by_place, by_token
from octavo_torch.parcel import Parcel, delivered

WIDTH = 2
NUM_ROWS = 12
CPU = torch.device("cpu")


def step(lengths: Sequence[int], *, padding: int = 0) -> StepInputs:
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    total, count = int(starts[-1]), len(lengths)
    zeros: Ints = np.zeros(count, np.int32)
    return StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(total, count, 0, max(lengths), 0, None),
        token_ids=np.zeros(total + padding, np.int32),
        query_starts=starts,
        seat=zeros,
        computed=zeros,
        rows=zeros,
        sampling=None,
        groups={},
    )


def walked(
    kind: type[ByPlace] | type[ByToken],
    parcel: Parcel,
    lengths: Sequence[int],
    padding: int,
    *,
    tile: Turn | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add tokens up: a state is the sum of its request's tokens so far, on what it started from."""
    total = sum(lengths)
    walk = delivered({0: parcel}, CPU)[0]
    assert isinstance(walk, kind)
    plane = torch.arange(NUM_ROWS, dtype=torch.float32)[:, None] * 100
    targets = torch.arange(1, 1 + WIDTH * len(lengths), dtype=torch.int32).view(-1, WIDTH)
    before = plane[1 : 1 + len(lengths)].clone()
    tokens = torch.arange(1, total + padding + 1, dtype=torch.float32)[:, None]
    out = torch.zeros_like(tokens)

    def turn(states: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return states + x, states + x

    walk.carry(turn, Rows(plane, before, targets), out, tokens, tile=tile)
    return out[:total], plane[1:]


@pytest.mark.parametrize("lengths", [(1, 1, 1), (4,), (2, 0, 5, 1), (0, 3), (0, 0)])
def test_both_orders_carry_the_same_states_into_the_same_rows(lengths: Sequence[int]) -> None:
    inputs, longer = step(lengths), step(lengths, padding=3)
    found = walked(ByPlace, by_place(inputs, width=WIDTH), lengths, 0)
    other = walked(ByToken, by_token(longer, width=WIDTH), lengths, 3)
    right, start = [], 0
    for request, length in enumerate(lengths):
        sums = np.cumsum(np.arange(start + 1, start + length + 1)) + 100 * (request + 1)
        right += sums.tolist()
        start += length
    assert found[0][:, 0].tolist() == right
    torch.testing.assert_close(found, other)


def test_turns_by_place_are_as_many_as_the_longest_request_has_tokens() -> None:
    walk = delivered({0: by_place(step((2, 7, 1)), width=WIDTH)}, CPU)[0]
    assert isinstance(walk, ByPlace)
    assert walk.lead.counts == (1, 1, 1, 1, 1)
    assert walk.last.counts == (3, 2)


@pytest.mark.parametrize("lengths", [(11,), (5, 6, 4), (2, 0, 9, 1)])
def test_tiles_carry_what_their_tokens_would(lengths: Sequence[int]) -> None:
    def tile(states: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sums = states[:, None] + x.cumsum(1)
        return sums[:, -1], sums

    inputs = step(lengths)
    plain = walked(ByPlace, by_place(inputs, width=WIDTH), lengths, 0)
    tiled = walked(ByPlace, by_place(inputs, width=WIDTH, size=4), lengths, 0, tile=tile)
    torch.testing.assert_close(tiled, plain)
