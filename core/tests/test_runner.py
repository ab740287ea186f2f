"""The two roads from a step to its tokens."""

from __future__ import annotations

import pytest

from octavo.batch import Batch
from octavo.detour import LOGITS
from octavo.errors import DeviceError
from octavo.heart import GROUP
from octavo.request import Request
from octavo.runner import Runner
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits, Scheduler
from octavo.step import Step
from octavo.testing.null import NullPending, NullProgram
from octavo_platforms.inputs import StepInputs

LIMITS = Limits(
    max_context_tokens=32, num_blocks=20, block_size=4, max_requests=3, max_step_tokens=8,
    vocab_size=60,
)  # fmt: skip


class Recorded(NullProgram):
    """The model without weights, which also keeps what it was launched with."""

    def __init__(self, *entries: str) -> None:
        super().__init__(LIMITS, entries=entries)
        self.launches: list[StepInputs] = []

    def launch(self, inputs: StepInputs) -> NullPending:
        self.launches.append(inputs)
        return super().launch(inputs)


def first_step() -> tuple[Batch, Step]:
    scheduler = Scheduler(LIMITS)
    scheduler.add(Request("a", [3, 1], SamplingParams(temperature=0.0)))
    step = scheduler.schedule()
    assert step is not None
    tables = {GROUP: scheduler.holdings.main.tables}
    return Batch(scheduler.seats, tables, max_step_tokens=8), step


def test_a_program_that_joins_its_entries_is_launched_once() -> None:
    batch, step = first_step()
    program = Recorded("step", "forward", "sample")
    assert Runner(program, batch).launch(step).read().tokens.tolist() == [[5]]
    assert [inputs.entry for inputs in program.launches] == ["step"]


def test_a_program_of_two_entries_keeps_the_logits_in_between() -> None:
    batch, step = first_step()
    program = Recorded("forward", "sample")
    assert Runner(program, batch).launch(step).read().tokens.tolist() == [[5]]
    assert [inputs.entry for inputs in program.launches] == ["forward", "sample"]
    assert [list(inputs.extra) for inputs in program.launches] == [[], [LOGITS]]


@pytest.mark.parametrize("entries", [[], ["forward"], ["sample"], ["encode", "pool"]])
def test_a_program_that_cannot_generate_is_refused(entries: list[str]) -> None:
    batch, _ = first_step()
    with pytest.raises(DeviceError, match="'step'"):
        Runner(Recorded(*entries), batch)
