"""Lock-step: a program whose launches wait for those of other ranks, each with its own engine.

Collectives inside a launch need every rank to make it. So a rank asks the others first (`waves`)
and tells its program what it learned, `StepShape.rank_tokens`; a rank without work makes an
empty launch. An engine on such a program is like any other:

    while True:
        if engine.has_work:              engine.step()
        elif waves.is_called(...):       program.take_part()

Knows nothing of requests, nor of what the ranks tell each other in a launch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from octavo.errors import DeviceError
from octavo.ranks.waves import Waves
from octavo.relay import Relay
from octavo_platforms.inputs import GroupInputs, Ints, Pending, StepInputs, StepShape
from octavo_platforms.platform import Program
from octavo_platforms.shapes import padded

_STEP, _FORWARD = "step", "forward"


class LockStep(Relay):
    """A program, of which the entries in `together` talk to other ranks.

    `groups` are the names of its state groups, for launches without requests. All ranks warm up at
    the same time.

    Raises: DeviceError, for a program that could not make a launch without requests.
    """

    def __init__(
        self,
        program: Program,
        waves: Waves,
        *,
        together: Collection[str],
        groups: Collection[str],
    ) -> None:
        super().__init__(program)
        self._waves = waves
        self._together = frozenset(together)
        self._groups = tuple(groups)
        entries = [entry for entry in (_STEP, _FORWARD) if entry in program.entries]
        if not entries or not self._together.issuperset(entries):
            raise DeviceError(
                f"The ranks of a program with the entries {sorted(program.entries)} cannot launch "
                f"together: {sorted(self._together)} talk, and 'step' or 'forward' has to."
            )
        self._empty = entries[0]

    def launch(self, inputs: StepInputs) -> Pending:
        """Agree on a launch with the other ranks, where the entry needs them, and make it.

        Raises: DeviceError, for ranks that stay silent or have failed; whatever the launch
            raises, after telling the others, which would wait for it.
        """
        if inputs.entry not in self._together:
            return self._program.launch(inputs)
        rank_tokens = self._waves.agree(inputs.shape.num_tokens)
        shape = replace(inputs.shape, rank_tokens=rank_tokens)
        try:
            return self._program.launch(padded(replace(inputs, shape=shape), self.shape_policy))
        except Exception as error:
            self._waves.fail(f"{type(error).__name__}: {error}")
            raise

    def take_part(self) -> None:
        """Make a launch without requests, for ranks that have some."""
        none: Ints = np.zeros(0, np.int32)
        inputs = StepInputs(
            entry=self._empty,
            sequence=0,
            shape=StepShape(0, 0, 0, 0, 0, None),
            token_ids=none,
            query_starts=np.zeros(1, np.int32),
            seat=none,
            computed=none,
            rows=none,
            sampling=None,
            groups={name: GroupInputs(np.zeros((0, 0), np.int32)) for name in self._groups},
            row_seat=none,
        )
        self.launch(inputs).read()
