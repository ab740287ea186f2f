"""`octavo serve`: from a model's name to an HTTP server, told stage by stage.

The port is taken before the model is loaded, so that a busy one is known at once. Ctrl-C and
SIGTERM end the command with status 0 at any stage.

Does not know how models are loaded or requests answered.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import octavo
from octavo.asking import Loaded
from octavo.cli.flags import add_model_flags, settings_of
from octavo.cli.story import Story
from octavo.config import Settings
from octavo.errors import OperatorError

if TYPE_CHECKING:  # the other commands start without the server
    import uvicorn

    from octavo.server.served import Served

SUMMARY = "Serve a model over an OpenAI-compatible HTTP API"
EXAMPLES = """\
examples:
  octavo serve                                the demo model
  octavo serve ./my-model --port 9000         a folder with config.json and safetensors
  octavo serve model.gguf --api-key secret    clients must send the key
"""

DRAIN_S = 5.0
"""How long open requests may go on after the server was told to stop."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_model_flags(parser)
    server = parser.add_argument_group("server")
    server.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    server.add_argument(
        "--port", type=int, default=8000, help="port to listen on; 0 is any (default: %(default)s)"
    )
    server.add_argument(
        "--served-model-name",
        metavar="NAME",
        help="the model's name for clients (default: its own)",
    )
    server.add_argument(
        "--api-key", metavar="KEY", help="clients must send it (default: OCTAVO_API_KEY, or none)"
    )


class Planned(Loaded, Protocol):
    """A loaded model that can say what runs where."""

    @property
    def plan(self) -> object:
        """Give what `str` writes for people."""
        ...


class Load(Protocol):
    """What makes a model of settings, telling each stage."""

    def __call__(self, settings: Settings, *, report: Callable[[str], None]) -> Planned:
        """Load it."""
        ...


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = settings_of(args)
    settings = replace(
        settings,
        host=args.host,
        port=args.port,
        served_model_name=args.served_model_name,
        api_key=args.api_key or settings.api_key,
    )
    return serve(settings, _load, Story())


def serve(settings: Settings, load: Load, story: Story, *, drain_s: float = DRAIN_S) -> int:
    """Load a model and serve it until told to stop, then give the exit status.

    Units: open requests may go on for `drain_s` seconds; then they end with an error.
    Effects: SIGTERM interrupts as Ctrl-C does, from here to the end of the process.
    """
    with listening(settings.host, settings.port) as taken:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _serve(settings, load, taken, story, drain_s)
        except KeyboardInterrupt:
            story("stopped")
    return 0


def _load(settings: Settings, *, report: Callable[[str], None]) -> Planned:
    """Import what loading needs only once the port is taken."""
    from octavo.loading import load

    return load(settings, report=report)


def listening(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises: OperatorError where it is busy, or the address is not this machine's.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, proto)
    except OSError as error:
        raise OperatorError(f"The host '{host}' is not known: {error}.") from error
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def _serve(
    settings: Settings, load: Load, taken: socket.socket, story: Story, drain_s: float
) -> None:
    story.plain(f"Octavo {octavo.__version__}")
    if settings.model is None:
        story.plain(
            "No model was named, so this serves a small demo model. "
            "Yours: octavo serve FOLDER or octavo serve FILE.gguf"
        )
    story("loading")
    loaded = load(settings, report=story)
    story.plain(str(loaded.plan))
    story("starting the server")
    from octavo.server.served import Served

    served = Served.over(loaded, name=settings.served_model_name)
    url = _url(*taken.getsockname()[:2])

    def announce() -> None:
        story(f"serving {served.name} on {url}")
        story.plain(f"\nTry it:\n{_curl(url, served.name, settings.api_key)}\n")

    _server(served, settings.api_key, announce, drain_s).run(sockets=[taken])


def _server(
    served: Served, api_key: str | None, announce: Callable[[], None], drain_s: float
) -> uvicorn.Server:
    """Make a server that says when it answers, and that ends open requests before it ends."""
    import uvicorn

    from octavo.server.app import create_app

    async def drain() -> None:
        await asyncio.sleep(drain_s)
        await served.engine.stop()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if not self.should_exit:
                announce()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            draining = asyncio.create_task(drain())
            await super().shutdown(sockets=sockets)
            draining.cancel()

    app = create_app(served, api_key=api_key)
    return Server(uvicorn.Config(app, log_level="warning", access_log=False))


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{reachable}]" if ":" in reachable else reachable
    return f"http://{shown}:{port}"


def _curl(url: str, name: str, api_key: str | None) -> str:
    """Write a command that asks the server something."""
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "Hello!"}]})
    key = "-H 'Authorization: Bearer YOUR_KEY' " if api_key else ""
    return (
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' {key}\\\n"
        f"    -d '{body}'"
    )
