"""How messages travel: a private folder, and sockets of ZeroMQ in it.

    folder (0700, a random name)
    ├── engine   the address: a Unix socket that the engine binds and clients connect to
    └── board    the engine's `Board`

Whoever makes a folder removes it; whoever holds it last may do so too. Only this user can connect.

Does not know what messages mean, nor who is at either end.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

from octavo.errors import OperatorError
from octavo.wire import Frame

_MAX_PATH_BYTES = 100
_MAX_UNREAD = 100_000
_RETRY_MS = 20
_MAX_RINGS = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine can be reached."""

    folder: Path

    @classmethod
    def anywhere(cls) -> Place:
        """Choose a name that nobody else has; there is no folder yet."""
        return cls(Path(tempfile.gettempdir()) / f"octavo-{secrets.token_hex(8)}")

    def make(self) -> None:
        """Make the folder, such that nobody else can enter it.

        Raises: OperatorError where its name is longer than a socket's may be.
        """
        if len(self.address) > _MAX_PATH_BYTES:
            raise OperatorError(
                f"The folder for temporary files, {self.folder.parent}, has too long a name for "
                f"sockets, which have {_MAX_PATH_BYTES} bytes. Set TMPDIR to a shorter one."
            )
        self.folder.mkdir(mode=0o700)

    @property
    def address(self) -> str:
        """Give the address to bind or connect."""
        return f"ipc://{self.folder / 'engine'}"

    @property
    def board(self) -> Path:
        """Give the path of the engine's board."""
        return self.folder / "board"

    def remove(self) -> None:
        """Remove the folder and everything in it; harmless when repeated."""
        shutil.rmtree(self.folder, ignore_errors=True)


class EngineSocket:
    """The engine's end: frames come with the name of a connection, and go to one.

    `wake` ends a wait, from any thread.
    """

    def __init__(self, place: Place) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, _MAX_UNREAD)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.bind(place.address)
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._poller = zmq.Poller()
        for each in (self._socket, self._woken):
            self._poller.register(each, zmq.POLLIN)

    def receive(self, *, wait_s: float | None) -> tuple[bytes, list[bytes]] | None:
        """Give the next message and whose it is; None if none came in time, or it was woken.

        Units: `wait_s` None waits for as long as it takes.
        """
        ready = dict(self._poller.poll(None if wait_s is None else int(wait_s * 1000)))
        if self._woken.fileno() in ready:
            self._woken.recv(_MAX_RINGS)
        if self._socket not in ready:
            return None
        sender, *frames = self._socket.recv_multipart()
        return sender, frames

    def wake(self) -> None:
        """End the wait of now, or the next; harmless when repeated, and after the close."""
        with suppress(OSError):
            self._waker.send(b"\0")

    def send(self, receiver: bytes, frames: Sequence[Frame]) -> bool:
        """Send to a connection; say whether it is there and reads what it is sent."""
        try:
            self._socket.send_multipart([receiver, *frames], flags=zmq.DONTWAIT)
        except zmq.ZMQError:
            return False
        return True

    def close(self, *, linger_s: float) -> None:
        """Close, when what was sent has been taken or the time is over."""
        self._socket.close(linger=int(linger_s * 1000))
        self._context.term()
        self._woken.close()
        self._waker.close()


class ClientSocket:
    """A client's end. It sees at once when the other end is gone, and can then `renew`.

    What was sent before is never delivered to a later engine: a new socket is made. `wake` is
    a file descriptor that ends a `wait` when it can be read.
    """

    def __init__(self, place: Place, *, wake: int) -> None:
        self._place = place
        self._wake = wake
        self._context = zmq.Context()
        self._open()

    def _open(self) -> None:
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RETRY_MS)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.connect(self._place.address)
        self._poller = zmq.Poller()
        for each in (self._socket, self._monitor, self._wake):
            self._poller.register(each, zmq.POLLIN)

    def wait(self, *, wait_s: float) -> None:
        """Wait until something came, the other end went, or `wake` can be read."""
        self._poller.poll(int(wait_s * 1000))

    def receive(self) -> list[bytes] | None:
        """Give the next message, None if there is none now."""
        try:
            return self._socket.recv_multipart(flags=zmq.DONTWAIT)
        except zmq.Again:
            return None

    def send(self, frames: Sequence[Frame]) -> None:
        """Send to the engine, now or as soon as there is one."""
        self._socket.send_multipart(frames)

    def is_lost(self) -> bool:
        """Tell whether the other end went away since the socket was made or renewed."""
        is_lost = False
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())
            is_lost |= event["event"] == zmq.EVENT_DISCONNECTED
        return is_lost

    def renew(self) -> None:
        """Begin anew, towards the next engine at the same address."""
        self._drop()
        self._open()

    def close(self) -> None:
        """Close at once; what was not sent yet is not sent any more."""
        self._drop()
        self._context.term()

    def _drop(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
