"""A child process and the tether between it and its parent: neither outlives the other unseen.

The tether is a pair of sockets that nobody writes to. The child's end is its standard input.
Whoever ends, however it ends, closes its end, and the other reads that: the parent polls its
end with what else it waits for, the child has a thread that waits for nothing else.

Knows nothing of what the child does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

_ORPHANED = 3


class Child:
    """A Python process that runs a module of ours, and ends when its parent does."""

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self.tether, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdin=theirs.fileno(), process_group=0
            )

    @property
    def pid(self) -> int:
        """Give the id that the operating system has for it."""
        return self._process.pid

    def end(self, *, grace_s: float) -> None:
        """Wait for it to end by itself, then end it. Ending twice does nothing."""
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.tether.close()

    def epitaph(self) -> str:
        """Wait until it has ended, as its tether says, and say in words how."""
        status = self._process.wait()
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with the status {status}"


def end_with_parent() -> None:
    """Let this process end, whatever it does then, when the parent that started it ends."""
    threading.Thread(target=_wait_for_parent, name="tether", daemon=True).start()


def _wait_for_parent() -> NoReturn:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(_ORPHANED)
