"""A program that stands before another and passes everything on: what it does itself, others add.

Knows nothing of either.
"""

from __future__ import annotations

from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Program, Report
from octavo_platforms.shapes import ShapePolicy


class Relay:
    """A program like the one behind it, which is `_program` for those who say what differs."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def entries(self) -> frozenset[str]:
        """Give the entries of the program behind it."""
        return self._program.entries

    @property
    def shape_policy(self) -> ShapePolicy:
        """Give the sizes that the program behind it wants."""
        return self._program.shape_policy

    def launch(self, inputs: StepInputs) -> Pending:
        """Launch it."""
        return self._program.launch(inputs)

    def warm_up(self, report: Report) -> None:
        """Warm the program behind it up."""
        self._program.warm_up(report)

    def close(self) -> None:
        """Close the program behind it."""
        self._program.close()
