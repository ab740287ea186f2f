"""Rules of a step: what they allow, what breaks them, and what is left where two have to hold."""

from __future__ import annotations

import numpy as np
import pytest

from octavo_platforms.inputs import StepInputs, StepShape
from octavo_platforms.rules import ANY_STEP, StepRules
from octavo_platforms.shapes import EXACT


def a_step(counts: list[int], parts: tuple[int, ...] = ()) -> StepInputs:
    """Make a step of so many tokens for each request; those of `parts` are not at their end."""
    starts = np.cumsum([0, *counts]).astype(np.int32)
    rows = [end - 1 for index, end in enumerate(starts[1:].tolist()) if index not in parts]
    return StepInputs(
        entry="step",
        sequence=1,
        shape=StepShape(
            num_tokens=sum(counts),
            num_requests=len(counts),
            num_rows=len(rows),
            max_query=max(counts),
            max_context=max(counts),
            uniform_query=None,
        ),
        token_ids=np.zeros(sum(counts), np.int32),
        query_starts=starts,
        seat=np.arange(1, len(counts) + 1, dtype=np.int32),
        computed=np.zeros(len(counts), np.int32),
        rows=np.array(rows, np.int32),
        sampling=None,
        groups={},
    )


@pytest.mark.parametrize(
    ("rules", "kept", "broken"),
    [
        (StepRules(max_prompts=1), a_step([1, 7]), a_step([7, 9])),
        (StepRules(mixes=False), a_step([7, 9]), a_step([1, 7])),
        (StepRules(mixes=False), a_step([1, 1]), a_step([2, 1], (0,))),
        (StepRules(part_multiple=4), a_step([8, 7], (0,)), a_step([7, 8], (0,))),
        (StepRules(max_part_tokens=8), a_step([8, 8]), a_step([1, 9])),
        (StepRules(whole_prompts=True), a_step([1, 30]), a_step([1, 30], (1,))),
    ],
    ids=str,
)
def test_a_launch_that_breaks_a_rule_is_told_from_one_that_keeps_it(
    rules: StepRules, kept: StepInputs, broken: StepInputs
) -> None:
    assert rules.broken_by(kept) is None
    assert rules.broken_by(broken)
    assert ANY_STEP.broken_by(broken) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_prompts": 0},
        {"part_multiple": 0},
        {"max_part_tokens": 0},
        {"prompt_interval": 0},
        {"part_multiple": 8, "max_part_tokens": 7},
        {"whole_prompts": True, "max_part_tokens": 7},
    ],
)
def test_rules_under_which_no_prompt_could_run_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"token|number"):
        StepRules(**wrong)  # type: ignore[arg-type]


def test_what_both_of_two_rules_allow_is_what_each_allows() -> None:
    one = StepRules(max_prompts=3, part_multiple=4, prompt_interval=2)
    other = StepRules(max_prompts=2, part_multiple=6, max_part_tokens=50, mixes=False)
    both = StepRules(
        max_prompts=2, part_multiple=12, max_part_tokens=50, mixes=False, prompt_interval=2
    )
    assert one.both(other) == other.both(one) == both
    assert one.both(ANY_STEP) == one


def test_rules_that_leave_nothing_together_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        StepRules(max_part_tokens=8).both(StepRules(part_multiple=16))


def test_a_policy_without_rules_allows_everything() -> None:
    assert EXACT.rules == ANY_STEP
