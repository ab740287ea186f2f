"""How much a chat template may do: steps, time, and the text and lists that it makes.

A template is a stranger's program, and a few characters of it can ask for any amount of work:
loops in loops, 'a' * 10**10, or a list of two lists of two lists. Each rendering has a budget; what
would go over it is refused before it is made, where that can be known, and at the next step where
it cannot.

Sizes are counted as if every value were written out: a list that holds one long text twice counts
it twice, because writing it would.

Knows nothing of Jinja.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set, Sized, ValuesView
from dataclasses import dataclass
from typing import TypeVar

Seconds = Callable[[], float]
Value = TypeVar("Value")

_ITEM_CHARS = 8  # what a place in a list costs in memory, in characters


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may use.

    A step is a call, a filter, a test or a turn of a loop. `max_chars` is of one value,
    `max_total_chars` of all that are made.
    """

    max_steps: int = 5_000_000
    max_chars: int = 1 << 25
    max_total_chars: int = 1 << 28
    max_s: float = 10.0


class OverBudget(Exception):
    """A template asks for more than it may use; the words end a sentence."""


class Budget:
    """What one rendering has used up."""

    def __init__(self, limits: Limits, now: Seconds) -> None:
        self._limits = limits
        self._now = now
        self._deadline = now() + limits.max_s
        self._steps = 0
        self._chars = 0
        # Values do not change while a template runs; a note keeps its value, and so its id, alive.
        self._noted: dict[int, tuple[object, int]] = {}

    def step(self) -> None:
        """Count one step.

        Raises: OverBudget, for one too many or one too late.
        """
        self._steps += 1
        if self._steps > self._limits.max_steps:
            raise OverBudget(f"more than {self._limits.max_steps} steps")
        if self._now() > self._deadline:
            raise OverBudget(f"more than {self._limits.max_s:g} seconds")

    def expect(self, num_chars: int) -> None:
        """Refuse a value that would be too large.

        Raises: OverBudget.
        """
        if num_chars > self._limits.max_chars:
            raise OverBudget(f"a value of more than {self._limits.max_chars} characters")

    def spend(self, num_chars: int) -> None:
        """Count what was made.

        Raises: OverBudget.
        """
        self.expect(num_chars)
        self._chars += num_chars
        if self._chars > self._limits.max_total_chars:
            raise OverBudget(f"more than {self._limits.max_total_chars} characters in all")

    def made(self, value: Value) -> Value:
        """Count a value that was made, and give it back.

        Raises: OverBudget.
        """
        if isinstance(value, str | bytes):
            self.spend(len(value))
        else:
            self.expect(self.size(value))
        return value

    def size(self, value: object) -> int:
        """Give a value's size if it were written out, in characters, about.

        Effects: a list or mapping that is new here is counted as made.
        Raises: OverBudget, where there are too many.
        """
        if isinstance(value, str | bytes):
            return len(value)
        if not isinstance(value, list | tuple | Mapping | Set | ValuesView):
            return 1
        noted = self._noted.get(id(value))
        if noted is not None:
            return noted[1]
        assert isinstance(value, Sized)
        self.spend(_ITEM_CHARS * len(value))
        size = 1 + sum(map(self.size, value))
        if isinstance(value, Mapping):
            size += sum(map(self.size, value.values()))
        size = min(size, self._limits.max_chars + 1)
        self._noted[id(value)] = value, size
        return size
