"""A program that cannot do everything: it says what its steps may be made of, and refuses others.

Knows nothing of the program that it stands before.
"""

from __future__ import annotations

from dataclasses import replace

from octavo.relay import Relay
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Program
from octavo_platforms.rules import StepRules
from octavo_platforms.shapes import ShapePolicy


class Strict(Relay):
    """A program with rules.

    Raises: ValueError, for a launch that breaks one.
    """

    def __init__(self, program: Program, rules: StepRules) -> None:
        super().__init__(program)
        self._rules = rules

    @property
    def shape_policy(self) -> ShapePolicy:
        """Give the program's, with the rules."""
        return replace(self._program.shape_policy, rules=self._rules)

    def launch(self, inputs: StepInputs) -> Pending:
        """Launch what obeys the rules."""
        if inputs.entry in ("forward", "step"):
            broken = self._rules.broken_by(inputs)
            if broken is not None:
                raise ValueError(f"a launch has {broken}")
        return self._program.launch(inputs)
