"""Verdicts: what became of a promise, in one word, and everything that a report needs.

Knows nothing of how cases are run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What became of one case."""

    PASS = "PASS"
    """Kept, by the plugin's own code."""
    FALLBACK = "FALLBACK"
    """Kept, but by a decomposition or by code of the base that stands behind the plugin."""
    NOT_CLAIMED = "NOT-CLAIMED"
    """Not promised, so not tested."""
    ENV = "ENV"
    """Not tested: the platform finds no device here."""
    FAIL = "FAIL"
    """Promised and not kept."""
    CRASH = "CRASH"
    """Neither kept nor refused: an exception, or the end of the process."""

    @property
    def is_bad(self) -> bool:
        """Tell whether a platform with this verdict may not be used."""
        return self in (Verdict.FAIL, Verdict.CRASH)


@dataclass(frozen=True, slots=True)
class Result:
    """One case's verdict. `detail` says why, where there is something to say."""

    case: str
    level: int
    area: str
    verdict: Verdict
    detail: str
    seconds: float


class Failed(AssertionError):
    """A promise that was not kept: what was found, and what was promised."""


class NotClaimed(Exception):
    """A case that finds nothing promised that it could test; says what."""


def insist(is_kept: bool, broken: str) -> None:
    """Fail a case in words. Raises: Failed."""
    if not is_kept:
        raise Failed(broken)
