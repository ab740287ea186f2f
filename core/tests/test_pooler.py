"""The pooler: whole prompts in steps that hold them, and each one's own row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.errors import ClientError, PromptTooLong
from octavo.models.encoder import POOL, TOKEN_TYPES
from octavo.pooler import Form, Pooler, PoolLimits, PoolRequest, Rows
from octavo.testing.null_pooled import FORM, LIMITS, NullPooled, row_by_hand
from octavo_platforms.graph import Dim
from octavo_platforms.inputs import Ints
from octavo_platforms.shapes import ShapePolicy


def ints(*values: int) -> Ints:
    return np.asarray(values, np.int32)


def run(pooler: Pooler) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    while pooler.has_work:
        found.update(pooler.step())
    return found


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    max_step_tokens=st.integers(12, 40),
    max_requests=st.integers(1, 6),
    max_in_flight=st.integers(1, 3),
)
def test_each_prompt_gets_its_own_row_whatever_it_shares_a_step_with(
    lengths: list[int], max_step_tokens: int, max_requests: int, max_in_flight: int
) -> None:
    limits = PoolLimits(
        max_prompt_tokens=12,
        max_step_tokens=max_step_tokens,
        max_requests=max_requests,
        vocab_size=50,
    )
    program = NullPooled()
    pooler = Pooler(program, limits, FORM, max_in_flight=max_in_flight)
    prompts = [
        [1 + (7 * index + place) % 49 for place in range(n)] for index, n in enumerate(lengths)
    ]
    for index, ids in enumerate(prompts):
        pooler.add(PoolRequest(f"{index}", ints(*ids)))
    found = run(pooler)
    assert [found[f"{index}"].tolist() for index in range(len(prompts))] == [
        row_by_hand(ids) for ids in prompts
    ]
    for inputs in program.launches:
        assert inputs.shape.num_tokens <= max_step_tokens
        assert inputs.shape.num_requests <= max_requests
    assert program.most_unread == min(max_in_flight, len(program.launches))
    assert sum(inputs.shape.num_tokens for inputs in program.launches) == sum(lengths)


def test_a_step_holds_as_many_prompts_as_fit_and_no_part_of_one() -> None:
    program = NullPooled()
    pooler = Pooler(program, LIMITS, FORM)
    for index, length in enumerate((30, 34, 1, 40, 24)):
        pooler.add(PoolRequest(f"{index}", np.ones(length, np.int32)))
    run(pooler)
    assert [np.diff(inputs.query_starts).tolist() for inputs in program.launches] == [
        [30, 34],
        [1, 40],
        [24],
    ]


def test_the_last_token_stands_for_a_prompt_where_the_form_says_so() -> None:
    pooler = Pooler(NullPooled(), LIMITS, Form(POOL, reads_last=True, segments=FORM.segments))
    pooler.add(PoolRequest("a", ints(3, 1, 4), ints(0, 1, 1)))
    pooler.add(PoolRequest("b", ints(5)))
    found = run(pooler)
    assert found["a"].tolist() == row_by_hand([3, 1, 4], last=True, seconds=2)
    assert found["b"].tolist() == row_by_hand([5], last=True)


def test_steps_are_padded_as_the_platform_wants_them() -> None:
    inputs = {POOL: {TOKEN_TYPES: (Dim("T"),)}}
    policy = ShapePolicy({"T": (8, 64), "R": (4,), "S": (4,)}, inputs=inputs)
    program = NullPooled(shape_policy=policy)
    pooler = Pooler(program, LIMITS, FORM)
    pooler.add(PoolRequest("a", ints(3, 1, 4), ints(0, 0, 1)))
    assert run(pooler)["a"].tolist() == row_by_hand([3, 1, 4], seconds=1)
    (launch,) = program.launches
    segments = launch.extra[TOKEN_TYPES]
    assert isinstance(segments, np.ndarray)
    assert (len(launch.token_ids), len(launch.rows), len(segments)) == (8, 4, 8)
    assert launch.query_starts.tolist() == [0, 3, 3, 3, 3]


def test_a_prompt_that_could_never_run_is_refused_with_the_numbers() -> None:
    pooler = Pooler(NullPooled(), LIMITS, FORM)
    with pytest.raises(PromptTooLong, match="41 tokens, but at most 40 fit") as refused:
        pooler.add(PoolRequest("a", np.ones(41, np.int32)))
    assert (refused.value.prompt_tokens, refused.value.limit_tokens) == (41, 40)
    with pytest.raises(ClientError, match="no tokens"):
        pooler.add(PoolRequest("a", ints()))
    for wrong in (-1, LIMITS.vocab_size):
        with pytest.raises(ClientError, match=f"token id {wrong}, but"):
            pooler.add(PoolRequest("a", ints(1, wrong)))
    assert not pooler.has_work


def test_a_broken_launch_ends_everybody_and_the_next_prompts_run() -> None:
    program = NullPooled(is_broken=True)
    pooler = Pooler(program, LIMITS, FORM, max_in_flight=2)
    for index in range(9):
        pooler.add(PoolRequest(f"{index}", np.ones(20, np.int32)))
    with pytest.raises(MemoryError, match="full"):
        pooler.step()
    assert not pooler.has_work
    program.is_broken = False
    pooler.add(PoolRequest("a", ints(2)))
    assert run(pooler)["a"].tolist() == row_by_hand([2])


def test_who_drops_leaves_nothing_behind() -> None:
    pooler = Pooler(NullPooled(), LIMITS, FORM, max_in_flight=2)
    for index in range(9):
        pooler.add(PoolRequest(f"{index}", np.ones(30, np.int32)))
    pooler.step()
    pooler.drop()
    assert not pooler.has_work
    assert pooler.step() == {}
