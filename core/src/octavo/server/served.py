"""What the routes share: the model, the engine that runs it, and the names that answers carry.

Does not know any route.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import octavo
from octavo.asking import Loaded, Model
from octavo.errors import UnknownModel
from octavo.process.client import EngineClient
from octavo.process.thread import ThreadHost


@dataclass(frozen=True, slots=True)
class Served:
    """A model on its way to clients.

    `is_own` says that the engine starts and ends with the app that serves it;
    `trusts_templates` that clients may bring chat templates of their own.

    Units: `clock` tells Unix seconds; `created` is when the server began.
    """

    model: Model
    engine: EngineClient
    name: str
    fingerprint: str
    created: int
    clock: Callable[[], float]
    is_own: bool = False
    trusts_templates: bool = False

    @classmethod
    def by(
        cls,
        engine: EngineClient,
        model: Model,
        *,
        name: str | None = None,
        trusts_templates: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Served:
        """Give clients a model that an engine runs, under its own name or another."""
        return cls(
            model=model,
            engine=engine,
            name=name or model.model_name,
            fingerprint=f"octavo-{octavo.__version__}",
            created=int(clock()),
            clock=clock,
            trusts_templates=trusts_templates,
        )

    @classmethod
    def over(
        cls,
        loaded: Loaded,
        *,
        name: str | None = None,
        trusts_templates: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Served:
        """Give clients a model that a thread of this process runs."""
        engine = EngineClient(ThreadHost(loaded))
        served = cls.by(engine, loaded, name=name, trusts_templates=trusts_templates, clock=clock)
        return replace(served, is_own=True)

    def now(self) -> int:
        """Tell the time as answers carry it, in whole Unix seconds."""
        return int(self.clock())

    def check_name(self, name: str | None) -> None:
        """Refuse a request for another model; one that names none means this one."""
        if name is not None and name != self.name:
            raise UnknownModel(name, (self.name,))
