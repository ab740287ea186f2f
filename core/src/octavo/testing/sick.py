"""A device whose numbers break for some requests, and for nobody else.

Requests that begin with the token `SICK` get `NO_TOKEN` once their context has `SICK_AT` tokens,
as if all of their logits were NaN. Others, in the same launches, get what they should.

Knows nothing of what becomes of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from octavo.scheduler import Limits
from octavo.testing.null import NullPending, NullProgram
from octavo_platforms.inputs import NO_TOKEN, StepInputs

SICK = 4
SICK_AT = 7


class Sick(NullProgram):
    """The model without weights on that device, as one launch for a step."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._seats: set[int] = set()

    def launch(self, inputs: StepInputs) -> NullPending:
        """Run the entry, and lose the tokens of those who are sick by now."""
        result = super().launch(inputs).read()
        assert inputs.row_seat is not None, "each row has a seat"
        if inputs.sampling is not None:  # somebody new has these seats
            self._seats.difference_update(inputs.sampling.seats.tolist())
        starts = inputs.query_starts
        owners = np.searchsorted(starts, inputs.rows, side="right") - 1
        begins = (inputs.computed == 0) & (inputs.token_ids[starts[:-1]] == SICK)
        self._seats.update(inputs.seat[begins].tolist())
        length = inputs.computed[owners] + inputs.rows - starts[owners] + 1
        is_sick = np.isin(inputs.row_seat, list(self._seats)) & (length >= SICK_AT)
        tokens = np.where(is_sick[:, None], NO_TOKEN, result.tokens).astype(np.int32)
        return NullPending(replace(result, tokens=tokens), {})
