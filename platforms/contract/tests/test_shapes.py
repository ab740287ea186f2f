"""Shape policies: what a step is padded to, and what the padding says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octavo_platforms.inputs import (
    GroupInputs,
    SamplingRows,
    StepInputs,
    StepShape,
    arrays_of,
)
from octavo_platforms.shapes import EXACT, ShapePolicy, padded

BUCKETS = {"T": (4, 8), "R": (2, 4), "S": (4,), "M": (4,), "U": (2,)}


def a_step(*, sampling: SamplingRows | None = None) -> StepInputs:
    return StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(5, 3, 2, 3, 20, None),
        token_ids=np.array([5, 6, 7, 8, 9], np.int32),
        query_starts=np.array([0, 1, 2, 5], np.int32),
        seat=np.array([3, 1, 2], np.int32),
        computed=np.array([10, 19, 0], np.int32),
        rows=np.array([0, 4], np.int32),
        sampling=sampling,
        groups={"kv": GroupInputs(np.array([[1, 0], [2, 3], [4, 0]], np.int32))},
    )


def test_without_buckets_a_step_is_itself() -> None:
    inputs = a_step()
    assert padded(inputs, EXACT) is inputs


def test_padding_is_nobodys_and_points_at_the_null_block_and_seat() -> None:
    made = padded(a_step(), ShapePolicy(BUCKETS))
    assert made.token_ids.tolist() == [5, 6, 7, 8, 9, 0, 0, 0]
    assert made.query_starts.tolist() == [0, 1, 2, 5, 5]
    assert made.seat.tolist() == [3, 1, 2, 0]
    assert made.computed.tolist() == [10, 19, 0, 0]
    assert made.rows.tolist() == [0, 4, 0, 0]
    assert made.groups["kv"].block_table.tolist() == [
        [1, 0, 0, 0],
        [2, 3, 0, 0],
        [4, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert made.shape == a_step().shape


def test_settings_are_padded_even_where_none_changed() -> None:
    made = padded(a_step(), ShapePolicy({"U": (2,)}))
    assert made.sampling is not None
    assert made.sampling.seats.tolist() == [0, 0]
    one = SamplingRows(np.array([3], np.int32), np.array([[1, 2, 3]], np.uint32))
    made = padded(a_step(sampling=one), ShapePolicy({"U": (2,)}))
    assert made.sampling is not None
    assert made.sampling.seats.tolist() == [3, 0]
    assert made.sampling.values.tolist() == [[1, 2, 3], [0, 0, 0]]


def test_past_the_largest_bucket_a_size_is_exact_or_an_error() -> None:
    assert ShapePolicy({"T": (4,)}).size("T", 5) == 5
    with pytest.raises(ValueError, match="T = 5 is past the largest bucket, 4"):
        ShapePolicy({"T": (4,)}, miss="fatal").size("T", 5)


def test_what_the_device_knows_is_padded_with_what_the_host_gave() -> None:
    step = replace(
        a_step(),
        shape=replace(a_step().shape, num_scores=1),
        token_from=np.array([1, 1, 0, 0, 0], np.int32),
        computed_from=np.array([1, 1, 0], np.int32),
        num_drafts=np.array([0, 0, 2], np.int32),
        score_rows=np.array([3], np.int32),
        score_ids=np.array([9], np.int32),
    )
    made = arrays_of(padded(step, ShapePolicy({**BUCKETS, "Q": (2,)})))
    expected = {
        "token_from": [1, 1, 0, 0, 0, 0, 0, 0],
        "computed_from": [1, 1, 0, 0],
        "num_drafts": [0, 0, 2, 0],
        "score_rows": [3, 0],
        "score_ids": [9, 0],
    }
    for name, values in expected.items():
        found = made[name]
        assert isinstance(found, np.ndarray)
        assert found.tolist() == values


def test_step_that_says_nothing_of_the_device_takes_all_from_the_host() -> None:
    made = arrays_of(padded(a_step(), ShapePolicy(BUCKETS)))
    for name, length in (("token_from", 8), ("computed_from", 4), ("num_drafts", 4)):
        found = made[name]
        assert isinstance(found, np.ndarray)
        assert found.tolist() == [0] * length
