"""The port: taken before anything else is done, by one listener or by one for each process.

Several listeners on a port share its connections, by the kernel's choice; whoever made them keeps
them, so that a process that died leaves its listener, and who waits there, to the next.

Does not know what is served.
"""

from __future__ import annotations

import errno
import socket

from octavo.errors import OperatorError


def listening(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises: OperatorError where it is busy, or the address is not this machine's.
    """
    return _listener(host, port, is_shared=False)


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Take a port with so many listeners.

    Raises: OperatorError, as `listening`, and where this system cannot share a port.
    """
    first = listening(host, port)
    if count == 1:
        return [first]
    if not hasattr(socket, "SO_REUSEPORT"):
        first.close()
        raise OperatorError("This system cannot share a port: leave --api-processes out.")
    found: int = first.getsockname()[1]
    first.close()
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            made.append(_listener(host, found, is_shared=True))
    except OperatorError:
        for each in made:
            each.close()
        raise
    return made


def _listener(host: str, port: int, *, is_shared: bool) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, proto)
    except OSError as error:
        raise OperatorError(f"The host '{host}' is not known: {error}.") from error
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        taken.bind(address)
        taken.listen()
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise OperatorError(
                f"Port {port} on {host} is in use. Stop what listens there, or choose "
                "another port with --port (0 takes any free one)."
            ) from error
        raise OperatorError(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
    return taken
