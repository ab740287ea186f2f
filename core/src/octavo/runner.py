"""The runner: launches steps on a program. With `detour`, all of the heart that meets a device.

There are two roads, by what the program has: one launch of `step`, or `forward` and then
`sample`, with the logits staying on the device in between. Steps in which somebody wants more
take the `detour`.

Knows nothing of requests, blocks or scheduling.
"""

from __future__ import annotations

from dataclasses import replace

from octavo.batch import Batch
from octavo.copying import Copier
from octavo.detour import LOGITS, Detour
from octavo.errors import DeviceError
from octavo.step import Step
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Program
from octavo_platforms.shapes import padded


class Runner:
    """Turns steps into launches; `copier` moves states where a program can keep some.

    Raises: DeviceError, for a program that has neither road.
    """

    def __init__(self, program: Program, batch: Batch, *, copier: Copier | None = None) -> None:
        self._copier = copier
        self._program = program
        self._batch = batch
        self._policy = program.shape_policy
        self._detour = Detour(program, batch)
        self._is_joined = "step" in program.entries
        if not self._is_joined and not program.entries >= {"forward", "sample"}:
            raise DeviceError(
                f"The program has the entries {sorted(program.entries)}, but generating needs "
                "'step', or 'forward' and 'sample'. Choose another platform or model."
            )

    def warm_up(self) -> None:
        """Launch what a program's own warm-up leaves out: copies of states."""
        if self._copier is not None:
            self._copier.warm_up()

    def launch(self, step: Step) -> Pending:
        """Start a step and return at once; reading what it gives waits for the tokens."""
        if self._copier is None:
            return self._launch(step)
        self._copier.restore(step.restored)
        pending = self._launch(step)
        self._copier.keep(step.kept)
        return pending

    def _launch(self, step: Step) -> Pending:
        needs = self._batch.wanted.needs(step)
        if needs:
            return self._detour.launch(step, needs)
        if self._is_joined:
            return self._program.launch(self._inputs(step, "step"))
        inputs = self._inputs(step, "forward")
        forward = self._program.launch(inputs)
        extra = {LOGITS: forward.ref(LOGITS)}
        return self._program.launch(replace(inputs, entry="sample", extra=extra))

    def _inputs(self, step: Step, entry: str) -> StepInputs:
        return padded(self._batch.inputs(step, entry=entry), self._policy)
