"""Crews for tests: builders of worker programs, and workers that misbehave on purpose.

Knows nothing of how workers are led.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Literal

import msgspec

from octavo.ranks.worker import Made, Share
from octavo.relay import Relay
from octavo.scheduler import Limits
from octavo.testing.null import NullProgram
from octavo.testing.strict import Strict
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Program
from octavo_platforms.rules import ANY_STEP, StepRules

NULL_BUILD = "octavo.testing.crews:null_program"
Mishap = Literal["none", "refuses", "raises", "dies", "hangs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NullShare:
    """The model without weights, whole on every rank; what goes wrong, at which launch.

    `rules` are those that its launches have to obey.
    """

    limits: Limits
    rules: StepRules = ANY_STEP
    mishap: Mishap = "none"
    at: int = 0

    @property
    def arguments(self) -> str:
        """Write it down for a worker."""
        return msgspec.json.encode(self).decode()


class MishapError(RuntimeError):
    """What a worker that misbehaves on purpose raises."""


class Clumsy(Relay):
    """A program whose launch of one step goes wrong."""

    def __init__(self, program: Program, mishap: Mishap, at: int) -> None:
        super().__init__(program)
        self._mishap, self._at = mishap, at

    def launch(self, inputs: StepInputs) -> Pending:
        """Launch, or do what goes wrong."""
        if inputs.sequence == self._at and self._mishap == "raises":
            raise MishapError(f"launch {self._at} was told to fail")
        if inputs.sequence == self._at and self._mishap == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        while inputs.sequence == self._at and self._mishap == "hangs":
            time.sleep(3600)
        return self._program.launch(inputs)


def null_program(share: Share, arguments: str) -> Made:
    """Build the model without weights for a worker."""
    told = msgspec.json.decode(arguments, type=NullShare)
    if told.mishap == "refuses":
        raise MishapError(f"rank {share.rank} was told not to start")
    entries = ("step", "forward", "sample")
    program = Strict(NullProgram(told.limits, entries=entries), told.rules)
    return Made(Clumsy(program, told.mishap, told.at))
