"""Shape policies: what a step is padded to, and what the padding says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from octavo_platforms.graph import Dim, GraphWriter, Size, TensorType
from octavo_platforms.inputs import (
    GroupInputs,
    SamplingRows,
    StepInputs,
    StepShape,
    arrays_of,
)
from octavo_platforms.program import ProgramDef, Symbol
from octavo_platforms.shapes import EXACT, ShapePolicy, padded
from octavo_platforms.tensor import DType

BUCKETS = {"T": (4, 8), "R": (2, 4), "S": (4,), "M": (4,), "U": (2,)}

OWN: tuple[tuple[str, tuple[Size, ...], DType], ...] = (
    ("slot", (Dim("R"),), "int32"),
    ("places", (3, Dim("T")), "int32"),
    ("features", (Dim("T", over=2), 2), "float32"),
    ("block_table.cross", (Dim("R"), Dim("C")), "int32"),
)


@dataclass(frozen=True)
class Reference:
    name: str


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
        row_seat=np.array([3, 2], np.int32),
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
    assert made.row_seat is not None
    assert made.row_seat.tolist() == [3, 2, 0, 0]
    assert made.groups["kv"].block_table.tolist() == [
        [1, 0, 0, 0],
        [2, 3, 0, 0],
        [4, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert made.shape == a_step().shape


def test_what_has_its_size_already_is_handed_on_and_what_lacks_some_is_a_copy() -> None:
    step = a_step()
    made = padded(step, ShapePolicy({"T": (5,), "R": (4,), "S": (2,), "M": (2,)}))
    assert made.token_ids is step.token_ids
    assert made.rows is step.rows
    assert not np.shares_memory(made.seat, step.seat)
    assert not np.shares_memory(made.groups["kv"].block_table, step.groups["kv"].block_table)
    fitting = padded(step, ShapePolicy({"R": (3,), "M": (2,)}))
    assert fitting.seat is step.seat
    assert fitting.groups["kv"].block_table is step.groups["kv"].block_table


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


def test_ranks_that_launch_together_have_the_tokens_of_the_one_with_most() -> None:
    step = a_step()
    together = replace(step, shape=replace(step.shape, rank_tokens=(5, 7)))
    assert len(padded(together, EXACT).token_ids) == 7
    assert len(padded(together, ShapePolicy({"T": (4, 16)})).token_ids) == 16
    assert padded(together, EXACT).query_starts.tolist() == [0, 1, 2, 5]
    found = arrays_of(padded(together, EXACT))["rank_tokens"]
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [5, 7]


def test_a_launch_without_requests_has_one_of_padding_beside_other_ranks() -> None:
    none = np.zeros(0, np.int32)
    empty = StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(0, 0, 0, 0, 0, None, rank_tokens=(3, 0)),
        token_ids=none,
        query_starts=np.zeros(1, np.int32),
        seat=none,
        computed=none,
        rows=none,
        sampling=None,
        groups={"kv": GroupInputs(np.zeros((0, 0), np.int32))},
    )
    made = padded(empty, EXACT)
    assert made.token_ids.tolist() == [0, 0, 0]
    assert made.query_starts.tolist() == [0, 0]
    assert (made.seat.tolist(), made.computed.tolist()) == ([0], [0])
    assert made.groups["kv"].block_table.tolist() == [[0]]
    assert made.rows.size == 0


def a_program() -> ProgramDef:
    g = GraphWriter()
    for name, shape, dtype in OWN:
        g.leaf("input", name, TensorType(shape, dtype))
    symbols = (Symbol("T", 8), Symbol("R", 4), Symbol("C", 6), Symbol("N", 5))
    return ProgramDef("toy", {"step": g.finish()}, (), (), (), symbols)


def test_inputs_of_an_entry_are_padded_along_the_axes_that_it_declared() -> None:
    policy = ShapePolicy({**BUCKETS, "C": (3, 6)}).of(a_program())
    cross = GroupInputs(np.ones((3, 4), np.int32), lengths=np.array([5, 0, 9], np.int32))
    step = replace(
        a_step(),
        shape=replace(a_step().shape, num_tokens=6),
        groups={**a_step().groups, "cross": cross},
        extra={
            "slot": np.array([2, 0, 1], np.int32),
            "places": np.ones((3, 6), np.int32),
            "features": np.ones((3, 2), np.float32),
            "undeclared": np.ones(3),
        },
    )
    made = arrays_of(padded(step, policy))
    found = {name: each for name, each in made.items() if isinstance(each, np.ndarray)}
    assert found["slot"].tolist() == [2, 0, 1, 0]
    assert found["places"].tolist() == [[1] * 6 + [0] * 2] * 3
    assert found["features"].tolist() == [[1, 1]] * 3 + [[0, 0]]
    assert found["features"].dtype == np.float32
    assert found["undeclared"].shape == (3,)
    assert found["block_table.cross"].tolist() == [[1] * 4 + [0] * 2] * 3 + [[0] * 6]
    assert found["lengths.cross"].tolist() == [5, 0, 9, 0]
    assert found["block_table.kv"].shape == (4, 4)


def test_references_are_as_large_as_the_launch_that_made_them() -> None:
    reference = Reference("hidden")
    policy = ShapePolicy(BUCKETS).of(a_program())
    made = padded(replace(a_step(), extra={"slot": reference}), policy)
    assert made.extra["slot"] is reference


def test_policy_of_no_program_cannot_pad_an_entrys_own_inputs() -> None:
    step = replace(a_step(), extra={"slot": np.array([2, 0, 1], np.int32)})
    with pytest.raises(ValueError, match=r"knows no entry 'step'.*'slot'.*ShapePolicy\.of"):
        padded(step, ShapePolicy(BUCKETS))


def test_own_inputs_grow_with_the_tokens_of_the_rank_that_has_most() -> None:
    step = a_step()
    together = replace(
        step,
        shape=replace(step.shape, rank_tokens=(5, 7)),
        extra={"places": np.ones((3, 5), np.int32)},
    )
    found = padded(together, EXACT.of(a_program())).extra["places"]
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[1] * 5 + [0] * 2] * 3
