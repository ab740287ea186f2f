"""What a leader and its workers tell each other, besides notes of steps.

    leader ── Start, StepNote .., Stop ──> worker
    leader <── Ready, Result .., Failure ── worker

Knows nothing of what carries the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octavo.ranks.note import StepNote
from octavo.scheduler import Limits
from octavo.wire import Wire
from octavo_platforms.inputs import Ints
from octavo_platforms.rules import StepRules
from octavo_platforms.tensor import HostTensor


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker is: its rank, its program, and the arrays that steps need.

    `build` names a `worker.Build` as `module:function`; it gets `arguments` as they are. All ranks
    meet at `rendezvous`, as `DeviceSettings` wants it.
    `answers` says that this rank's results are wanted. Units: `max_in_flight` launches unread.
    """

    rank: int
    ranks: int
    rendezvous: str
    build: str
    arguments: str
    limits: Limits
    answers: bool
    max_in_flight: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has its program, of these entries, and waits for notes.

    `shares_prefixes` says that all of its states stand in blocks; `rules` are those that its
    program needs steps to obey.
    """

    rank: int
    entries: tuple[str, ...]
    shares_prefixes: bool
    rules: StepRules


@dataclass(frozen=True, slots=True)
class Result:
    """What a step made. Shapes: as in `StepResult`."""

    sequence: int
    tokens: Ints
    num_tokens: Ints
    outputs: Mapping[str, HostTensor]


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker could not go on, and ends. `words` are the error's own."""

    rank: int
    words: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A worker has to give everything back, and end."""


Order = Start | StepNote | Stop
Answer = Ready | Result | Failure


def orders() -> Wire[Order]:
    """Give the wire from a leader to a worker."""
    return Wire((Start, StepNote, Stop))


def answers() -> Wire[Answer]:
    """Give the wire from a worker to its leader."""
    return Wire((Ready, Result, Failure))
