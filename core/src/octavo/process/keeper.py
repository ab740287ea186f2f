"""The keeper: one process of ours, started, watched, and started again when it ends unasked.

    start ─▶ runs ─▶ ended by itself ──┬─▶ pause ─▶ start ...      the pause doubles each time
               └──▶ wedged, so killed ─┘└─▶ too often: give up     a long good time forgets it all

The pause and the count are there for a process that cannot run at all: it must not burn the
machine, and its operator must come to know. Its thread only waits and looks.

Does not know what the process does, nor how one sees that it is wedged.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("octavo.keeper")

LOOK_S = 0.1
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
GOOD_TIME_S = 60.0


class Kept(Protocol):
    """A process as its keeper needs to know it."""

    @property
    def what(self) -> str:
        """Name it for people."""
        ...

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        ...

    def is_ready(self) -> bool:
        """Tell whether it does its work by now."""
        ...

    def wedged(self) -> str | None:
        """Say why it must be killed, None while it need not be. Called again and again."""
        ...


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a process may end unasked: `most` times without a good time between."""

    most: int

    def pause_s(self, num_ends: int) -> float:
        """Give the pause before the start that follows the n-th end."""
        return min(FIRST_PAUSE_S * 2.0 ** (num_ends - 1), LONGEST_PAUSE_S)


class Keeper:
    """Keeps a process until told to stop. One that ends before it was ever ready is not kept.

    `gave_up` hears the reason, in the keeper's thread, when there will be no further start.
    """

    def __init__(
        self,
        kept: Kept,
        restarts: Restarts,
        *,
        gave_up: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.failure: str | None = None
        self._kept = kept
        self._restarts = restarts
        self._gave_up = gave_up
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()
        self._was_ready = False
        self._thread = threading.Thread(target=self._run, name="octavo-keeper", daemon=True)

    def start(self) -> None:
        """Start the process, and the thread that keeps it."""
        self._process = self._kept.start()
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Give the process's id, None while there is none."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if there is one."""
        process = self._process
        if process is not None:
            process.send_signal(number)

    def stop(self, *, patience_s: float) -> None:
        """Wait for the process, which was asked to end, and kill it if it does not.

        Effects: it is not started again.
        """
        with self._lock:
            self._is_stopping.set()
            process = self._process
        if process is not None:
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
            self._thread.join()

    def expect_end(self) -> None:
        """From here on take an end for what was asked for."""
        self._is_stopping.set()

    def _run(self) -> None:
        num_ends = 0
        while True:
            process, began = self._process, time.monotonic()
            assert process is not None, "the thread starts after the process"
            reason = self._until_end(process)
            if process.stdin is not None:
                process.stdin.close()
            if self._is_stopping.is_set():
                return
            num_ends = 1 if time.monotonic() - began > GOOD_TIME_S else num_ends + 1
            log.error("%s", reason)
            if not self._was_ready or num_ends > self._restarts.most:
                self.failure = reason
                self._gave_up(reason)
                return
            self._is_stopping.wait(self._restarts.pause_s(num_ends))
            with self._lock:
                if self._is_stopping.is_set():
                    return
                self._process = self._kept.start()

    def _until_end(self, process: subprocess.Popen[bytes]) -> str:
        wedged = None
        while True:
            try:
                status = process.wait(LOOK_S)
                break
            except subprocess.TimeoutExpired:
                self._was_ready |= self._kept.is_ready()
                if not self._is_stopping.is_set() and wedged is None:
                    wedged = self._kept.wedged()
                    if wedged is not None:
                        process.kill()
        self._was_ready |= self._kept.is_ready()
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{self._kept.what} {how}" if wedged is None else f"{self._kept.what} {wedged}"
