"""A device that is late, or breaks: the rules of launches, used to their limits.

Nothing runs when it is launched. It runs when its result is wanted, after all that was launched
before it, and until then `ready` says no: whoever launches ahead cannot have seen what was not
read. What was launched and when it was read stands in `events`.

    launch 1 │ launch 2 │ read 1: runs 1 │ launch 3 │ read 2: runs 2

Whoever tests may let it run ahead instead, so that a launch is over before it is read.

Knows nothing of the program that it holds back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import numpy as np

from octavo.relay import Relay
from octavo_platforms.inputs import (
    NO_TOKEN,
    DeviceRef,
    GroupInputs,
    Pending,
    SamplingRows,
    StepInputs,
    StepResult,
)
from octavo_platforms.platform import Program
from octavo_platforms.tensor import Array

Event = tuple[Literal["launch", "read"], int]
T = TypeVar("T", StepInputs, GroupInputs, SamplingRows)


class Broken(Exception):
    """The device is gone."""


@dataclass(frozen=True, slots=True)
class Breaks:
    """At which launch a device breaks, counted from 1: when it is made, or when it runs."""

    at: int
    when: Literal["launch", "read"]


@dataclass(frozen=True, slots=True)
class LaggardRef:
    """An output of a launch that need not have run."""

    name: str
    pending: LaggardPending


class LaggardPending:
    """A launch that has not run before somebody wants to know."""

    def __init__(self, program: Laggard, inputs: StepInputs, number: int) -> None:
        self.number = number
        self.inputs = inputs
        self.made: Pending | None = None
        self._program = program

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch."""
        return LaggardRef(output, self)

    def ready(self) -> bool:
        """Tell whether it has run."""
        return self.made is not None

    def read(self) -> StepResult:
        """Run it, after all before it."""
        return self._program.read(self)


class Laggard(Relay):
    """A program whose launches run as late as they may.

    Raises: Broken, where it was told to break. What waited then is lost, and from then on it
        works again.
    """

    def __init__(self, program: Program, *, breaks: Breaks | None = None) -> None:
        self.events: list[Event] = []
        self.launches: list[StepInputs] = []
        super().__init__(program)
        self._breaks = breaks
        self._loses = False
        self._waiting: deque[LaggardPending] = deque()

    def launch(self, inputs: StepInputs) -> LaggardPending:
        """Keep a copy of the inputs for when the launch will run."""
        self.launches.append(_copied(inputs))
        number = len(self.launches)
        if self._breaks == Breaks(number, "launch"):
            raise Broken(f"at launch {number}")
        self.events.append(("launch", number))
        pending = LaggardPending(self, self.launches[-1], number)
        self._waiting.append(pending)
        return pending

    def read(self, wanted: LaggardPending) -> StepResult:
        """Run what waits, as far as a launch whose result is wanted, and give that."""
        while wanted.made is None:
            self._run(self._waiting.popleft())
        self.events.append(("read", wanted.number))
        result = wanted.made.read()
        if self._loses and len(result.tokens):
            self._loses = False
            tokens = result.tokens.copy()
            tokens[0] = NO_TOKEN
            result = replace(result, tokens=tokens)
        return result

    def run_ahead(self) -> None:
        """Run the oldest launch that waits, if there is one: a device need not be late."""
        if self._waiting and self._breaks != Breaks(self._waiting[0].number, "read"):
            self._run(self._waiting.popleft())

    def lose_next(self) -> None:
        """Let the first row of the next result have no token, as where logits are no numbers."""
        self._loses = True

    def break_next(self, when: Literal["launch", "read"]) -> None:
        """Break at the next launch that is made, or at the next that runs."""
        is_waiting = when == "read" and self._waiting
        number = self._waiting[0].number if is_waiting else len(self.launches) + 1
        self._breaks = Breaks(number, when)

    def _run(self, pending: LaggardPending) -> None:
        if self._breaks == Breaks(pending.number, "read"):
            self._waiting.clear()
            raise Broken(f"while launch {pending.number} ran")
        extra = {name: _arrived(value) for name, value in pending.inputs.extra.items()}
        pending.made = self._program.launch(replace(pending.inputs, extra=extra))


def _arrived(value: Array | DeviceRef) -> Array | DeviceRef:
    if not isinstance(value, LaggardRef):
        return value
    assert value.pending.made is not None, "launches run in order"
    return value.pending.made.ref(value.name)


def _copied(notes: T) -> T:
    """Copy every array, because its owner may write into it as soon as `launch` returns."""
    changes: dict[str, object] = {}
    for field in fields(notes):
        value = getattr(notes, field.name)
        if isinstance(value, np.ndarray):
            changes[field.name] = value.copy()
        elif isinstance(value, SamplingRows):
            changes[field.name] = _copied(value)
        elif field.name == "groups":
            changes[field.name] = {name: _copied(group) for name, group in value.items()}
        elif isinstance(value, Mapping):
            changes[field.name] = {name: _owned(each) for name, each in value.items()}
    return replace(notes, **changes)  # type: ignore[arg-type]


def _owned(value: Array | DeviceRef) -> Array | DeviceRef:
    return value.copy() if isinstance(value, np.ndarray) else value
