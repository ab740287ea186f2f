"""The runner: launches steps on a program. The only file of the heart that meets a device.

There are two roads, by what the program has: one launch of `step`, or `forward` and then
`sample`, with the logits staying on the device in between.

Knows nothing of requests, blocks or scheduling.
"""

from __future__ import annotations

from dataclasses import replace

from octavo.batch import Batch
from octavo.errors import DeviceError
from octavo.step import Step
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Program
from octavo_platforms.shapes import padded

LOGITS = "logits"


class Runner:
    """Turns steps into launches.

    Raises: DeviceError, for a program that has neither road.
    """

    def __init__(self, program: Program, batch: Batch) -> None:
        self._program = program
        self._batch = batch
        self._policy = program.shape_policy
        self._is_joined = "step" in program.entries
        if not self._is_joined and not program.entries >= {"forward", "sample"}:
            raise DeviceError(
                f"The program has the entries {sorted(program.entries)}, but generating needs "
                "'step', or 'forward' and 'sample'. Choose another platform or model."
            )

    def launch(self, step: Step) -> Pending:
        """Start a step and return at once; reading what it gives waits for the tokens."""
        if self._is_joined:
            return self._program.launch(
                padded(self._batch.inputs(step, entry="step"), self._policy)
            )
        inputs = padded(self._batch.inputs(step, entry="forward"), self._policy)
        forward = self._program.launch(inputs)
        extra = {LOGITS: forward.ref(LOGITS)}
        return self._program.launch(replace(inputs, entry="sample", extra=extra))

    def _inputs(self, step: Step, entry: str) -> StepInputs:
        return padded(self._batch.inputs(step, entry=entry), self._policy)
