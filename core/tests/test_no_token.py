"""A device whose numbers broke for one request: that one ends with "error", alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import NullPending, NullProgram, by_hand
from octavo_platforms.inputs import NO_TOKEN, StepInputs

LIMITS = Limits(
    max_context_tokens=64,
    num_blocks=60,
    block_size=4,
    max_requests=4,
    max_step_tokens=32,
    vocab_size=101,
)
SICK_SEAT, SICK_AFTER = 2, 5


class Sick(NullProgram):
    """Gives no token to one seat, from some launch on."""

    num_launches = 0

    def launch(self, inputs: StepInputs) -> NullPending:
        """Run an entry."""
        result = super().launch(inputs).read()
        self.num_launches += 1
        if self.num_launches > SICK_AFTER and inputs.row_seat is not None:
            tokens = result.tokens.copy()
            tokens[inputs.row_seat == SICK_SEAT] = NO_TOKEN
            result = replace(result, tokens=tokens)
        return NullPending(result, {})


@pytest.mark.parametrize("depth", [1, 2])
def test_a_request_without_a_token_ends_alone_and_nothing_leaks(depth: int) -> None:
    engine = heart(Sick(LIMITS), LIMITS).engine(max_in_flight=depth)
    params = SamplingParams(temperature=0, max_tokens=12)
    asked = [Request(f"r{number}", [number, 7], params) for number in range(3)]
    for request in asked:
        engine.add(request)
    told: dict[str, str] = {}
    while engine.has_work:
        delta = engine.step()
        told.update(delta.finished.items())
        assert NO_TOKEN not in delta.tokens
    assert told == {"r0": "length", "r1": "error", "r2": "length"}
    for number, request in enumerate(asked):
        whole = by_hand([number, 7], num_tokens=12, vocab_size=LIMITS.vocab_size)
        made = request.output_ids
        assert made == (whole if number != 1 else whole[: len(made)])
        assert len(made) == (12 if number != 1 else SICK_AFTER)
    engine.check_integrity()
    assert engine.stats.held_blocks == 0
