"""The batch's arrays, step by step, against what the step and the tables say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octavo.batch import Batch
from octavo.engine import Engine
from octavo.heart import GROUP
from octavo.request import Request
from octavo.runner import Runner
from octavo.sampling import SamplingParams, sampling_words
from octavo.scheduler import Limits, Scheduler
from octavo.step import Step
from octavo.testing.null import NullProgram, output_by_hand
from octavo_platforms.inputs import GroupInputs, StepInputs

LIMITS = Limits(
    max_context_tokens=32, num_blocks=20, block_size=4, max_requests=3, max_step_tokens=8,
    vocab_size=60,
)  # fmt: skip


def over(scheduler: Scheduler, kind: type[Batch] = Batch) -> Batch:
    tables = {GROUP: scheduler.holdings.main.tables}
    return kind(scheduler.seats, tables, max_step_tokens=scheduler.limits.max_step_tokens)


def test_a_mixed_step_becomes_arrays_that_say_where_each_token_belongs() -> None:
    scheduler = Scheduler(LIMITS)
    runner = Runner(NullProgram(LIMITS), over(scheduler))
    scheduler.add(Request("a", [11, 12], SamplingParams(temperature=0.5, seed=-2)))
    first = scheduler.schedule()
    assert first is not None
    made = int(scheduler.commit(first, runner.launch(first).read()).tokens[0])
    scheduler.add(Request("b", list(range(20, 30)), SamplingParams(temperature=0.0, seed=3)))
    step = scheduler.schedule()
    assert step is not None
    inputs = over(scheduler).inputs(step, entry="forward")
    assert (inputs.entry, inputs.sequence) == ("forward", 2)
    assert inputs.token_ids.tolist() == [made, *range(20, 27)]
    assert inputs.query_starts.tolist() == [0, 1, 8]
    assert inputs.computed.tolist() == [2, 0]
    assert inputs.seat.tolist() == [1, 2]
    assert inputs.rows.tolist() == [0]
    shape = inputs.shape
    assert (shape.num_tokens, shape.num_requests, shape.num_rows) == (8, 2, 1)
    assert (shape.max_query, shape.max_context, shape.uniform_query) == (7, 7, None)
    assert inputs.sampling is not None
    assert inputs.sampling.seats.tolist() == [2]
    assert inputs.sampling.values.tolist() == [list(sampling_words(0.0, 3))]
    blocks = scheduler.holdings.main.tables.blocks
    assert inputs.groups[GROUP].block_table.tolist() == blocks[1:3, :2].tolist()
    dtypes = {inputs.token_ids.dtype, inputs.query_starts.dtype, inputs.rows.dtype,
              inputs.computed.dtype, inputs.seat.dtype}  # fmt: skip
    assert dtypes == {np.dtype(np.int32)}


def test_a_step_without_new_seats_sends_no_sampling_and_says_that_it_is_uniform() -> None:
    scheduler = Scheduler(LIMITS)
    batch = over(scheduler)
    runner = Runner(NullProgram(LIMITS), batch)
    for name in "ab":
        scheduler.add(Request(name, [5], SamplingParams()))
    first = scheduler.schedule()
    assert first is not None
    scheduler.commit(first, runner.launch(first).read())
    second = scheduler.schedule()
    assert second is not None
    inputs = batch.inputs(second, entry="step")
    assert inputs.sampling is None
    assert inputs.shape.uniform_query == 1


def test_table_rows_follow_their_requests_when_others_come_grow_and_go() -> None:
    scheduler = Scheduler(LIMITS)
    batch = over(scheduler)
    program = NullProgram(LIMITS)
    for number in range(12):
        params = SamplingParams(temperature=0.0, max_tokens=3 + 5 * (number % 4))
        scheduler.add(Request(f"r{number}", [number] * (1 + number % 9), params))
    steps = 0
    while (step := scheduler.schedule()) is not None:
        inputs = batch.inputs(step, entry="step")
        rows = inputs.groups[GROUP].block_table
        blocks = scheduler.holdings.main.tables.blocks
        assert rows.tolist() == blocks[step.seats, : rows.shape[1]].tolist()
        assert rows.shape[1] * 4 >= inputs.shape.max_context
        scheduler.commit(step, program.launch(inputs).read())
        steps += 1
    assert steps > 12


class ForgetsToCopyGrownRows(Batch):
    """Hands out the tables of a request's first step for as long as its seat is its own."""

    first: GroupInputs | None = None

    def inputs(self, step: Step, *, entry: str) -> StepInputs:
        inputs = super().inputs(step, entry=entry)
        if len(step.admitted) or self.first is None:
            self.first = GroupInputs(inputs.groups[GROUP].block_table.copy())
        width = inputs.groups[GROUP].block_table.shape[1] - self.first.block_table.shape[1]
        return replace(
            inputs,
            groups={GROUP: GroupInputs(np.pad(self.first.block_table, ((0, 0), (0, width))))},
        )


class IsOneTokenBehind(Batch):
    def inputs(self, step: Step, *, entry: str) -> StepInputs:
        inputs = super().inputs(step, entry=entry)
        return replace(inputs, computed=np.maximum(inputs.computed - 1, 0))


class SendsNoSampling(Batch):
    def inputs(self, step: Step, *, entry: str) -> StepInputs:
        return replace(super().inputs(step, entry=entry), sampling=None)


class SwapsTables(Batch):
    def inputs(self, step: Step, *, entry: str) -> StepInputs:
        inputs = super().inputs(step, entry=entry)
        rows = inputs.groups[GROUP].block_table
        return replace(inputs, groups={GROUP: GroupInputs(np.roll(rows, step.sequence, axis=0))})


def run(kind: type[Batch]) -> None:
    """Run three requests and compare their tokens with those computed by hand."""
    scheduler = Scheduler(LIMITS)
    engine = Engine(scheduler, Runner(NullProgram(LIMITS), over(scheduler, kind)))
    requests = [
        Request(
            f"r{number}",
            [number + 5],
            SamplingParams(seed=2, temperature=1.5 * (number % 2), max_tokens=12),
        )
        for number in range(3)
    ]
    for request in requests:
        engine.add(request)
    while engine.has_work:
        engine.step()
    for request in requests:
        assert request.output_ids == output_by_hand(request, 12, vocab_size=60)


def test_the_model_without_weights_finds_no_fault_with_the_batch() -> None:
    run(Batch)


@pytest.mark.parametrize(
    "mutant", [ForgetsToCopyGrownRows, IsOneTokenBehind, SendsNoSampling, SwapsTables]
)
def test_the_model_without_weights_finds_a_planted_bug(mutant: type[Batch]) -> None:
    with pytest.raises((AssertionError, IndexError)):
        run(mutant)
