"""The base's program on the emulated device: a launch is watched from its first op to its last.

Knows nothing of what is made of it (`launches`). Importing this imports torch.
"""

from __future__ import annotations

from octavo_emulated.emulator import emulator
from octavo_emulated.launches import Recipes
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Report
from octavo_platforms.shapes import ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_torch.context import TorchContext
from octavo_torch.program import TorchProgram


class WatchedProgram(TorchProgram):
    """A program that counts its recipes; inside a launch the host may not wait for the device."""

    def __init__(self, spec: CompileSpec, context: TorchContext, policy: ShapePolicy) -> None:
        super().__init__(spec, context, policy)
        self.recipes = Recipes()

    def launch(self, inputs: StepInputs) -> Pending:
        """Launch, and look on. Raises: RuntimeError, where the host waits."""
        with emulator().launch() as seen:
            pending = super().launch(inputs)
        self.recipes.add(seen)
        return pending

    def warm_up(self, report: Report) -> None:
        """Warm up; what is new from then on is counted."""
        super().warm_up(report)
        self.recipes.is_warm = True
