"""Shape policies: which sizes of a step a platform wants, as data. Core pads to them.

A platform that compiles for fixed shapes names buckets for some symbols of the launch face; a
step is padded up to the next bucket of each. What padding means is the same everywhere:

- requests past the last have no tokens, seat 0 and nothing computed; their table rows are 0,
- tokens past the last request's belong to nobody: their id, position and slot are 0, so
  what they write goes to the null block,
- rows past the last repeat token 0, and nobody reads what they choose or how likely they are,
- settings past the last change seat 0, the null seat.

`StepShape` keeps the true sizes; a program gives results for those alone.

Knows nothing of how a platform compiles.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from octavo_platforms.inputs import GroupInputs, Ints, SamplingRows, StepInputs

Miss = Literal["exact", "fatal"]


@dataclass(frozen=True, slots=True)
class ShapePolicy:
    """Buckets by symbol (T, R, S, M, U, Q), each ascending; a symbol without any is left exact.

    `miss` says what happens past the largest bucket: the exact size is used, or it is an error.
    """

    buckets: Mapping[str, Sequence[int]] = field(default_factory=lambda: MappingProxyType({}))
    miss: Miss = "exact"

    def size(self, symbol: str, count: int) -> int:
        """Give the size that a count is padded to. Raises: ValueError, for a fatal miss."""
        buckets = self.buckets.get(symbol, ())
        index = bisect_left(buckets, count)
        if index < len(buckets):
            return buckets[index]
        if buckets and self.miss == "fatal":
            raise ValueError(f"{symbol} = {count} is past the largest bucket, {buckets[-1]}")
        return count


EXACT = ShapePolicy()


def padded(inputs: StepInputs, policy: ShapePolicy) -> StepInputs:
    """Pad a launch up to a policy's buckets; without buckets, give it as it is.

    Raises: ValueError, for a size past a largest bucket whose miss is fatal.
    """
    if not policy.buckets:
        return inputs
    requests = policy.size("R", inputs.shape.num_requests)
    sampling = inputs.sampling
    least = policy.size("U", 0 if sampling is None else len(sampling.seats))
    return replace(
        inputs,
        token_ids=_longer(inputs.token_ids, policy.size("T", inputs.shape.num_tokens)),
        query_starts=_longer(inputs.query_starts, requests + 1, fill=inputs.shape.num_tokens),
        seat=_longer(inputs.seat, requests),
        computed=_longer(inputs.computed, requests),
        token_from=_longer_if(inputs.token_from, policy.size("T", inputs.shape.num_tokens)),
        computed_from=_longer_if(inputs.computed_from, requests),
        num_drafts=_longer_if(inputs.num_drafts, requests),
        score_rows=_longer_if(inputs.score_rows, policy.size("Q", inputs.shape.num_scores)),
        score_ids=_longer_if(inputs.score_ids, policy.size("Q", inputs.shape.num_scores)),
        rows=_longer(inputs.rows, policy.size("S", inputs.shape.num_rows)),
        sampling=_settings(sampling, least),
        groups={
            name: GroupInputs(_wider(group.block_table, requests, policy))
            for name, group in inputs.groups.items()
        },
    )


def _longer(array: Ints, length: int, *, fill: int = 0) -> Ints:
    made = np.full(length, fill, dtype=np.int32)
    made[: len(array)] = array
    return made


def _longer_if(array: Ints | None, length: int) -> Ints | None:
    return None if array is None else _longer(array, length)


def _wider(table: Ints, requests: int, policy: ShapePolicy) -> Ints:
    made = np.zeros((requests, policy.size("M", table.shape[1])), dtype=np.int32)
    made[: table.shape[0], : table.shape[1]] = table
    return made


def _settings(sampling: SamplingRows | None, length: int) -> SamplingRows | None:
    if length == 0:
        return sampling
    seats, values = np.zeros(length, np.int32), np.zeros((length, 3), np.uint32)
    if sampling is not None:
        seats[: len(sampling.seats)] = sampling.seats
        values[: len(sampling.seats)] = sampling.values
    return SamplingRows(seats, values)
