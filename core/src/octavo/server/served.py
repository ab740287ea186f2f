"""What the routes share: the model, its engine thread, and the names that answers carry.

Does not know any route.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import octavo
from octavo.asking import Loaded
from octavo.errors import UnknownModel
from octavo.server.lifecycle import EngineThread


@dataclass(frozen=True, slots=True)
class Served:
    """A model on its way to clients.

    Units: `clock` tells Unix seconds; `created` is when the server began.
    """

    model: Loaded
    engine: EngineThread
    name: str
    fingerprint: str
    created: int
    clock: Callable[[], float]

    @classmethod
    def over(
        cls, model: Loaded, *, name: str | None = None, clock: Callable[[], float] = time.time
    ) -> Served:
        """Give a model to clients, under its own name or another."""
        return cls(
            model=model,
            engine=EngineThread(model.engine),
            name=name or model.model_name,
            fingerprint=f"octavo-{octavo.__version__}",
            created=int(clock()),
            clock=clock,
        )

    def now(self) -> int:
        """Tell the time as answers carry it, in whole Unix seconds."""
        return int(self.clock())

    def check_name(self, name: str | None) -> None:
        """Refuse a request for another model; one that names none means this one."""
        if name is not None and name != self.name:
            raise UnknownModel(name, (self.name,))
