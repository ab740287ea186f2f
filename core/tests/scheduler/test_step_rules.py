"""Rules of what a step may be made of: no step breaks them, and under all of them work ends.

The programs behind the walks refuse every launch that breaks their rules.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from octavo.errors import OperatorError
from octavo.heart import heart
from octavo.sampling import SamplingParams
from octavo.testing.drive import generate, run_on
from octavo.testing.null import NullProgram
from octavo.testing.random_weights import RandomWeights
from octavo.testing.strict import Strict
from octavo.testing.toys.zoo import GENERATORS, NUM_BLOCKS, VOCAB_SIZE
from octavo.testing.walks import NARROW, Walk
from octavo_platforms.discover import load
from octavo_platforms.rules import ANY_STEP, StepRules

# A nightly run walks further: OCTAVO_WALK_MOVES=200000
NUM_MOVES = int(os.environ.get("OCTAVO_WALK_MOVES", "2000"))
RULES = (
    StepRules(max_prompts=1),
    StepRules(mixes=False),
    StepRules(mixes=False, max_prompts=2),
    StepRules(part_multiple=8),
    StepRules(part_multiple=3, mixes=False),
    StepRules(max_part_tokens=5),
    StepRules(max_part_tokens=9, part_multiple=4, max_prompts=2),
    StepRules(prompt_interval=3),
    StepRules(whole_prompts=True),
    StepRules(whole_prompts=True, mixes=False),
    StepRules(whole_prompts=True, max_prompts=1, prompt_interval=2),
)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("rules", RULES, ids=str)
def test_after_any_walk_no_step_broke_the_rules_of_the_program(
    rules: StepRules, depth: int
) -> None:
    allowed = replace(NARROW, max_step_tokens=40 if rules.whole_prompts else 9)
    Walk(allowed, rules=rules).wander(NUM_MOVES, seed=depth, depth=depth)


def steps_of(walk: Walk, num_steps: int) -> list[dict[str, int]]:
    found = []
    for _ in range(num_steps):
        step = walk.schedule()
        assert step is not None
        walk.commit()
        found.append(dict(zip(step.request_ids, step.num_tokens.tolist(), strict=True)))
    return found


def test_prompts_of_several_share_a_step_where_one_may_not_have_it_all() -> None:
    alone, shared = (
        Walk(replace(NARROW, rules=StepRules(max_part_tokens=most))) for most in (None, 3)
    )
    for walk in (alone, shared):
        for name in "abc":
            walk.add(name, [1, 2, 3, 4, 5, 6, 7, ord(name) % 90, 9, 10], max_tokens=2)
    assert steps_of(alone, 1) == [{"a": 9}]
    assert steps_of(shared, 1) == [{"a": 3, "b": 3, "c": 3}]


def test_unmixed_steps_of_prompts_and_of_single_tokens_take_turns() -> None:
    walk = Walk(replace(NARROW, rules=StepRules(mixes=False)))
    walk.add("a", [1, 2], max_tokens=20)
    steps_of(walk, 1)
    walk.add("b", [3] * 25, max_tokens=3)
    assert steps_of(walk, 6) == [{"a": 1}, {"b": 9}, {"a": 1}, {"b": 9}, {"a": 1}, {"b": 7}]


def test_prompts_have_a_step_only_so_often_while_others_have_something_to_do() -> None:
    walk = Walk(replace(NARROW, rules=StepRules(prompt_interval=3)))
    walk.add("a", [1, 2], max_tokens=20)
    steps_of(walk, 1)
    walk.add("b", [3] * 12, max_tokens=9)
    assert steps_of(walk, 4) == [{"a": 1}, {"a": 1}, {"a": 1, "b": 8}, {"a": 1}]
    walk.scheduler.end(next(iter(walk.requests)), "abort")
    assert steps_of(walk, 1) == [{"b": 4}]


@pytest.mark.parametrize(
    ("rules", "step_tokens", "own"),
    [(StepRules(part_multiple=8), 9, 8), (StepRules(whole_prompts=True), 40, 39)],
)
def test_a_part_that_never_fits_beside_others_gets_a_step_of_its_own(
    rules: StepRules, step_tokens: int, own: int
) -> None:
    walk = Walk(replace(NARROW, max_step_tokens=step_tokens, num_blocks=60), rules=rules)
    for name in "abc":
        walk.add(name, [ord(name) % 90, 1], max_tokens=30)
    steps_of(walk, 3)
    walk.add("long", [3] * 39, max_tokens=1)
    found = [each for each in steps_of(walk, 4) if "long" in each]
    assert found[0] == {"long": own}


def test_prompts_that_are_computed_whole_need_steps_that_hold_a_context() -> None:
    with pytest.raises(OperatorError, match="--max-num-batched-tokens 40"):
        replace(NARROW, max_step_tokens=39, rules=StepRules(whole_prompts=True))


def test_a_program_that_needs_larger_steps_than_there_are_is_refused() -> None:
    with pytest.raises(OperatorError, match="multiples of 16"):
        heart(Strict(NullProgram(NARROW), StepRules(part_multiple=16)), NARROW)


def test_what_was_asked_for_and_what_the_program_needs_are_both_obeyed() -> None:
    walk = Walk(replace(NARROW, rules=StepRules(max_prompts=2)), rules=StepRules(part_multiple=2))
    assert walk.scheduler.limits.rules == StepRules(max_prompts=2, part_multiple=2)


def test_a_threshold_that_the_program_cannot_cut_at_is_refused_by_its_flag() -> None:
    allowed = replace(NARROW, rules=StepRules(max_part_tokens=4))
    with pytest.raises(OperatorError, match="--long-prefill-token-threshold"):
        heart(Strict(NullProgram(allowed), StepRules(part_multiple=8)), allowed)


@pytest.mark.parametrize("toy", ["llama", "recurrent", "windows"])
def test_rules_change_no_token_of_a_real_program(toy: str) -> None:
    """Twice the same prompts: the second time, what was remembered of the first is used."""
    definition = GENERATORS[toy]()
    running = run_on(load("oracle"), definition, RandomWeights(definition), num_blocks=NUM_BLOCKS)
    prompts = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [2, 7, 1], [8] * 25, [3, 1, 4, 1, 5, 9, 2, 6]]
    params = SamplingParams(temperature=0.7, seed=5, max_tokens=9)

    def outputs(rules: StepRules, depth: int) -> list[list[int]]:
        strict = replace(running, program=Strict(running.program, rules))
        engine = strict.engine(vocab_size=VOCAB_SIZE, max_in_flight=depth)
        return generate(engine, prompts, params) + generate(engine, prompts, params)

    free = outputs(ANY_STEP, 1)
    for depth, rules in (
        (1, StepRules(mixes=False, max_prompts=2)),
        (2, StepRules(part_multiple=8, mixes=False)),
        (2, StepRules(max_part_tokens=5, prompt_interval=2)),
    ):
        assert outputs(rules, depth) == free
