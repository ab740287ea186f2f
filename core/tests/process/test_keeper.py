"""The keeper: processes that end, hang, or never begin."""

from __future__ import annotations

import signal
import subprocess
import sys

from octavo.process.keeper import LONGEST_PAUSE_S, Keeper, Restarts
from octavo.testing.served import until
from octavo.testing.spawned import is_running

FOREVER = "import time; time.sleep(3600)"


class Sleeper:
    """A process that sleeps, and is ready, or hangs, when the test says so."""

    what = "The sleeper"

    def __init__(self, code: str = FOREVER, *, ready: bool = True) -> None:
        self.code = code
        self.ready = ready
        self.hangs: str | None = None
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        self.hangs = None
        process = subprocess.Popen([sys.executable, "-c", self.code], stdin=subprocess.PIPE)
        self.started.append(process)
        return process

    def is_ready(self) -> bool:
        return self.ready

    def wedged(self) -> str | None:
        return self.hangs


def test_a_process_that_ends_is_started_again_until_told_to_stop() -> None:
    sleeper = Sleeper()
    keeper = Keeper(sleeper, Restarts(5))
    keeper.start()
    keeper.send(signal.SIGKILL)
    until(lambda: len(sleeper.started) == 2)
    assert keeper.failure is None
    keeper.stop(patience_s=0.0)
    assert not any(is_running(each.pid) for each in sleeper.started)
    assert len(sleeper.started) == 2


def test_a_process_that_hangs_is_killed_and_started_again() -> None:
    sleeper = Sleeper()
    keeper = Keeper(sleeper, Restarts(5))
    keeper.start()
    sleeper.hangs = "hung"
    until(lambda: len(sleeper.started) == 2)
    assert sleeper.started[0].returncode == -signal.SIGKILL
    keeper.stop(patience_s=0.0)


def test_too_many_ends_in_a_row_are_the_last_and_say_why() -> None:
    heard: list[str] = []
    sleeper = Sleeper("raise SystemExit(3)")
    keeper = Keeper(sleeper, Restarts(2), gave_up=heard.append)
    keeper.start()
    until(lambda: keeper.failure is not None)
    keeper.stop(patience_s=0.0)
    assert len(sleeper.started) == 3
    assert heard == ["The sleeper ended with status 3"]


def test_one_that_never_was_ready_is_not_started_again() -> None:
    sleeper = Sleeper("raise SystemExit(3)", ready=False)
    keeper = Keeper(sleeper, Restarts(5))
    keeper.start()
    until(lambda: keeper.failure is not None)
    keeper.stop(patience_s=0.0)
    assert len(sleeper.started) == 1


def test_an_end_that_was_expected_is_no_failure() -> None:
    sleeper = Sleeper()
    keeper = Keeper(sleeper, Restarts(5))
    keeper.start()
    keeper.expect_end()
    keeper.send(signal.SIGTERM)
    keeper.stop(patience_s=60.0)
    assert (len(sleeper.started), keeper.failure) == (1, None)


def test_the_pause_doubles_to_its_limit() -> None:
    pauses = [Restarts(99).pause_s(turn) for turn in range(1, 12)]
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == LONGEST_PAUSE_S
