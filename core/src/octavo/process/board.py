"""The board: what an engine does just now, seen by other processes without a message.

    beats    grow a few times a second for as long as the process runs at all
    steps    grow with each turn of the engine's loop

A few numbers in a memory-mapped file, written by the engine's process alone. A stopped process
stops beating; a device that hangs stops the steps. `Watch` measures for how long.

Knows nothing of what is done about it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_WORDS = (
    "beats",
    "steps",
    "is_ready",
    "is_busy",
    "running",
    "waiting",
    "waiting_tokens",
    "ended_per_1000_s",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The board at one moment.

    Units: `running` and `waiting` requests, the latter wherever they wait; `waiting_tokens` of
        their prompts, without those that were preempted; `ended_per_s` requests come to an end
        in a second, of late.
    """

    beats: int
    steps: int
    is_ready: bool
    is_busy: bool
    running: int
    waiting: int
    waiting_tokens: int
    ended_per_s: float = 0.0


class Board:
    """The numbers, mapped. Making it creates the file where there is none."""

    def __init__(self, path: Path) -> None:
        size = 8 * len(_WORDS)
        with path.open("a+b") as file:
            if file.seek(0, 2) < size:
                file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._words = np.frombuffer(self._map, np.int64)

    def clear(self) -> None:
        """Begin anew, for a new engine."""
        self._words[:] = 0

    def beat(self) -> None:
        """Say that the process runs."""
        self._words[0] += 1

    def write(
        self,
        *,
        is_ready: bool,
        is_busy: bool,
        running: int,
        waiting: int,
        waiting_tokens: int,
        ended_per_s: float = 0.0,
    ) -> None:
        """Say that the loop turned, and what it found."""
        self._words[1:] = (
            self._words[1] + 1,
            is_ready,
            is_busy,
            running,
            waiting,
            waiting_tokens,
            round(1000 * ended_per_s),
        )

    def read(self) -> Seen:
        """See what is written now."""
        beats, steps, is_ready, is_busy, running, waiting, tokens, ended = self._words.tolist()
        return Seen(
            beats, steps, bool(is_ready), bool(is_busy), running, waiting, tokens, ended / 1000
        )


class Watch:
    """For how long an engine has not beaten, and not stepped although it had work.

    Time counts only while somebody looks: who was stopped together with the engine, or slept
    through a night, does not hold that against it.

    Units: seconds, of the clock that `look` is given; `longest_gap_s` between two looks counts.
    """

    def __init__(self, *, longest_gap_s: float) -> None:
        self.silent_s = 0.0
        self.stuck_s = 0.0
        self._longest_gap_s = longest_gap_s
        self._looked_at: float | None = None
        self._last: Seen | None = None

    def look(self, seen: Seen, now_s: float) -> None:
        """Take in what the board says now."""
        last, looked_at = self._last, self._looked_at
        self._last, self._looked_at = seen, now_s
        if last is None or looked_at is None or not seen.is_ready:
            self.silent_s = self.stuck_s = 0.0
            return
        passed_s = min(now_s - looked_at, self._longest_gap_s)
        self.silent_s = self.silent_s + passed_s if seen.beats == last.beats else 0.0
        is_stuck = seen.is_busy and seen.steps == last.steps
        self.stuck_s = self.stuck_s + passed_s if is_stuck else 0.0
