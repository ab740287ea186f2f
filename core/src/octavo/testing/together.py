"""One function in several processes at once, one a rank, for tests of what ranks do together.

    together("package.module:function", ranks=2, toy="llama") ─> [what rank 0 returned, rank 1, ..]

The function takes a `Place` and the keyword arguments, and returns what JSON can say. When one
process fails, the others are ended, and its own last words are the error. They meet at a file
in a folder of their own, so that tests that run side by side never mix.

Knows nothing of platforms.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

DEADLINE_S = 240.0
LOOK_S = 0.05
LAST_WORDS = 2000

_MEMBER = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:0] = order["path"]
from octavo.testing.together import member
member(order)
"""


class MemberFailed(AssertionError):
    """A process that failed, with its last words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many ranks a process is, and where all of them meet."""

    rank: int
    ranks: int
    rendezvous: str


def together(work: str, *, ranks: int, **given: Json) -> list[Json]:
    """Run `module:function` in `ranks` processes; give what each returned. Raises: MemberFailed."""
    with tempfile.TemporaryDirectory() as folder:
        members = [_Member(work, Path(folder), rank, ranks, given) for rank in range(ranks)]
        try:
            _wait(members)
        finally:
            for each in members:
                each.end()
        return [each.returned() for each in members]


def member(order: Mapping[str, object]) -> None:
    """Be one of the processes: run the work and write down what it returned."""
    module, _, name = str(order["work"]).partition(":")
    work: Callable[..., Json] = getattr(importlib.import_module(module), name)
    rank, ranks, given = order["rank"], order["ranks"], order["given"]
    assert isinstance(rank, int)
    assert isinstance(ranks, int)
    assert isinstance(given, dict)
    made = work(Place(rank, ranks, str(order["rendezvous"])), **given)
    Path(str(order["answer"])).write_text(json.dumps(made), encoding="utf-8")


class _Member:
    """One process, its words and its answer."""

    def __init__(
        self, work: str, folder: Path, rank: int, ranks: int, given: Mapping[str, Json]
    ) -> None:
        self.rank = rank
        self._answer = folder / f"answer-{rank}"
        self._words = folder / f"words-{rank}"
        order = {
            "path": sys.path,
            "work": work,
            "rank": rank,
            "ranks": ranks,
            "rendezvous": f"file://{folder / 'meeting'}",
            "given": given,
            "answer": str(self._answer),
        }
        with self._words.open("wb") as words:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _MEMBER, json.dumps(order)],
                stdout=words,
                stderr=subprocess.STDOUT,
            )

    def returned(self) -> Json:
        found: Json = json.loads(self._answer.read_text(encoding="utf-8"))
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def has_failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def last_words(self) -> str:
        words = self._words.read_text(encoding="utf-8", errors="replace").strip()
        return f"rank {self.rank} ended with {self.process.poll()}: {words[-LAST_WORDS:]}"


def _wait(members: Sequence[_Member]) -> None:
    """Wait until all have ended well. Raises: MemberFailed, as soon as one has not."""
    end = time.monotonic() + DEADLINE_S
    while any(each.process.poll() is None for each in members):
        if any(each.has_failed for each in members):
            break
        if time.monotonic() > end:
            words = [each.last_words() for each in members]
            raise MemberFailed("\n".join([f"not done after {DEADLINE_S:.0f} s", *words]))
        time.sleep(LOOK_S)
    time.sleep(LOOK_S)
    failed = [each.last_words() for each in members if each.has_failed]
    if failed:
        raise MemberFailed("\n".join(failed))
