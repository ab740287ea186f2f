"""The model without weights gives what a person computes, and notices a wrong slot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octavo.heart import GROUP
from octavo.scheduler import Limits
from octavo.testing.null import NullProgram, by_hand, null_logits
from octavo_platforms.inputs import GroupInputs, SamplingRows, StepInputs, StepShape

LIMITS = Limits(
    max_context_tokens=16, num_blocks=5, block_size=4, max_requests=2, max_step_tokens=8,
    vocab_size=50,
)  # fmt: skip


def inputs(tokens: list[int], *, computed: int, table: list[int]) -> StepInputs:
    """One request, in seat 1, whose last token gets a row."""
    count = len(tokens)
    return StepInputs(
        entry="step",
        sequence=1,
        shape=StepShape(count, 1, 1, count, computed + count, count),
        token_ids=np.array(tokens, np.int32),
        query_starts=np.array([0, count], np.int32),
        seat=np.array([1], np.int32),
        computed=np.array([computed], np.int32),
        rows=np.array([count - 1], np.int32),
        sampling=None,
        groups={GROUP: GroupInputs(np.array([table], np.int32))},
        row_seat=np.array([1], np.int32),
    )


def token(program: NullProgram, given: StepInputs) -> int:
    return int(program.launch(given).read().tokens[0, 0])


def test_the_likeliest_token_is_the_sum_of_each_token_times_its_place() -> None:
    assert null_logits([3, 1, 4], 100).argmax() == 1 * 3 + 2 * 1 + 3 * 4
    assert by_hand([3, 1], num_tokens=2, vocab_size=100) == [5, 20]


def test_a_context_given_in_two_launches_is_read_back_as_one() -> None:
    program = NullProgram(LIMITS)
    token(program, inputs([3, 1, 4, 1, 5], computed=0, table=[2, 4]))
    assert token(program, inputs([9], computed=5, table=[2, 4])) == (3 + 2 + 12 + 4 + 25 + 54) % 50


def test_a_wrong_block_gives_a_wrong_token() -> None:
    program = NullProgram(LIMITS)
    token(program, inputs([3, 1, 4, 1, 5], computed=0, table=[2, 4]))
    assert token(program, inputs([9], computed=5, table=[3, 4])) != (3 + 2 + 12 + 4 + 25 + 54) % 50


def test_a_null_block_in_a_context_is_noticed() -> None:
    with pytest.raises(AssertionError):
        token(NullProgram(LIMITS), inputs([3, 1, 4, 1, 5], computed=0, table=[2, 0]))


def test_a_seat_keeps_its_sampling_until_it_is_given_another() -> None:
    program = NullProgram(LIMITS)
    warm = SamplingRows(
        np.array([1], np.int32),
        np.array([[np.float32(9).view(np.uint32), 11, 0]], np.uint32),
    )
    given = inputs([3, 1], computed=0, table=[2])
    drawn = token(program, replace(given, sampling=warm))
    assert drawn != 5
    assert token(program, given) == drawn
