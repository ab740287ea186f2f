"""Where an engine lives, as its client sees it.

Does not know any of the places.
"""

from __future__ import annotations

from typing import Protocol

from octavo.process.channel import Place


class Host(Protocol):
    """Somebody's engine at an address: started, and stopped, with its client."""

    @property
    def place(self) -> Place:
        """Give where the engine can be reached."""
        ...

    @property
    def is_own(self) -> bool:
        """Tell whether the engine ends with its client."""
        ...

    @property
    def failure(self) -> str | None:
        """Say why the engine ended and does not come back; None while it may."""
        ...

    def start(self) -> None:
        """Bring the engine up. It need not be ready when this returns."""
        ...

    def stop(self) -> None:
        """Wait until the engine, which was told to stop, has ended; harmless when repeated."""
        ...


class Neighbour:
    """An engine that somebody else started, and will stop."""

    failure = None
    is_own = False

    def __init__(self, place: Place) -> None:
        self.place = place

    def start(self) -> None:
        """Do nothing: it runs."""

    def stop(self) -> None:
        """Do nothing: it goes on."""
