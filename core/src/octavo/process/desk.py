"""The engine's desk: who is connected, what newcomers are told, and messages to and fro.

A connection becomes a `Client` with its first message and stays one until it cannot be sent
anything. Announcements go to everybody, and to those who come later.

Does not know requests, nor what a message asks for.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from octavo.errors import InternalError
from octavo.process.channel import EngineSocket
from octavo.process.messages import (
    FromClient,
    FromEngine,
    Hello,
    wire_of_clients,
    wire_of_engines,
)

log = logging.getLogger("octavo.engine")

_GREETING_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Client:
    """A connection: its name on the socket, and a number that no other has."""

    name: bytes
    index: int


class Desk:
    """Receives and sends messages of clients."""

    def __init__(self, socket: EngineSocket) -> None:
        self._socket = socket
        self._incoming = wire_of_clients()
        self._outgoing = wire_of_engines()
        self._clients: dict[bytes, Client] = {}
        self._num_seen = 0
        self._announced: list[FromEngine] = []

    def receive(self, *, wait_s: float | None) -> tuple[Client, FromClient] | None:
        """Give the next message that asks for something; None if none came in time, or on `wake`.

        Units: `wait_s` None waits for as long as it takes.
        Effects: newcomers are told what was announced.
        """
        while (received := self._socket.receive(wait_s=wait_s)) is not None:
            name, frames = received
            try:
                message = self._incoming.decode(frames)
            except InternalError:
                log.exception("a message that is none was dropped")
                continue
            if not isinstance(message, Hello):
                return self._client(name), message
            client = self._client(name)
            for each in self._announced:
                self.tell(client, each)
        return None

    def wake(self) -> None:
        """End the wait for a message, from any thread."""
        self._socket.wake()

    def greet(self, *, wait_s: float = 0.0) -> None:
        """Let those in who say hello, waiting for the first; requests are too early and dropped."""
        end = time.monotonic() + wait_s
        while not self._clients and time.monotonic() < end:
            self.receive(wait_s=_GREETING_TICK_S)
        while self.receive(wait_s=0.0) is not None:
            log.warning("a request came before the model was ready, and was dropped")

    def tell(self, client: Client, message: FromEngine) -> bool:
        """Send a message; False where the client is gone, or reads nothing any more."""
        if self._socket.send(client.name, self._outgoing.encode(message)):
            return True
        self._clients.pop(client.name, None)
        return False

    def announce(self, message: FromEngine, *, is_last: bool = False) -> None:
        """Tell everybody, and whoever comes later; the last word makes earlier ones old."""
        for client in list(self._clients.values()):
            self.tell(client, message)
        if is_last:
            self._announced.clear()
        self._announced.append(message)

    def close(self, *, linger_s: float) -> None:
        """Close, when clients have taken what they were told or the time is over."""
        self._socket.close(linger_s=linger_s)

    def _client(self, name: bytes) -> Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(name, self._num_seen)
            self._num_seen += 1
        return client
