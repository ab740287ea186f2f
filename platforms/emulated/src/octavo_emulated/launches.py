"""Watched launches: what each one did on the device, and whether it was the first of its kind.

A device that compiles makes a recipe for each signature it has not seen. What is new after
`warm_up` is what a user would wait for.

Knows nothing of how the device sees an op (`emulator`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import DeviceContext, Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import ShapePolicy
from octavo_platforms.specs import CompileSpec

if TYPE_CHECKING:
    from octavo_emulated.emulator import Launch


@dataclass(slots=True)
class Recipes:
    """The launches of one program so far, by what a device would compile for them.

    `new_since_warm_up` are signatures that came only after the program was warmed up.
    """

    num_launches: int = 0
    known: set[int] = field(default_factory=set)
    new_since_warm_up: set[int] = field(default_factory=set)
    most_uploads: int = 0
    is_warm: bool = False

    def add(self, launch: Launch) -> None:
        """Count a launch."""
        self.num_launches += 1
        self.most_uploads = max(self.most_uploads, launch.num_uploads)
        if self.is_warm and launch.signature not in self.known:
            self.new_since_warm_up.add(launch.signature)
        self.known.add(launch.signature)


class Watching:
    """The plugin object that compiles programs whose launches are watched."""

    def __init__(self, shapes: Callable[[ProgramDef], ShapePolicy]) -> None:
        self._shapes = shapes

    @hookimpl
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Give the base's program, watched."""
        from octavo_emulated.watched import WatchedProgram
        from octavo_torch.context import opened

        return WatchedProgram(spec, opened(context), self._shapes(spec.program))
