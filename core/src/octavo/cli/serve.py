"""`octavo serve`: from a model's name to an HTTP server, told stage by stage.

    this process     the port, HTTP, and the keeping of the others
    engine process   loads the model and runs it
    API processes    with --api-processes: further ones that answer HTTP on the same port

The port is taken before the model is loaded, so that a busy one is known at once. Ctrl-C and
SIGTERM end the command with status 0 at any stage.

Does not know how models are loaded or requests answered.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import octavo
from octavo.cli.flags import add_chat_flags, add_model_flags, chat_settings_of
from octavo.cli.story import Story
from octavo.config import (
    DEFAULT_ENGINE_TIMEOUT_S,
    DEFAULT_QUEUED_REQUESTS,
    DEFAULT_RESTARTS,
    DEFAULT_SHUTDOWN_TIMEOUT_S,
    Settings,
)

if TYPE_CHECKING:  # the other commands start without the server
    from octavo.process.child import ChildHost
    from octavo.process.client import EngineClient
    from octavo.server.running import Server

SUMMARY = "Serve a model over an OpenAI-compatible HTTP API"
EXAMPLES = """\
examples:
  octavo serve                                the demo model
  octavo serve ./my-model --port 9000         a folder with config.json and safetensors
  octavo serve model.gguf --api-key secret    clients must send the key
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_model_flags(parser)
    add_chat_flags(parser)
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
    server.add_argument(
        "--api-processes",
        metavar="N",
        type=int,
        default=1,
        help="processes that answer HTTP and handle text, on one port (default: %(default)s)",
    )
    server.add_argument(
        "--shutdown-timeout",
        metavar="SECONDS",
        type=float,
        default=DEFAULT_SHUTDOWN_TIMEOUT_S,
        help="how long open requests may go on after SIGTERM or Ctrl-C (default: %(default)g)",
    )
    server.add_argument(
        "--trust-request-chat-template",
        action="store_true",
        help="let requests bring a 'chat_template' of their own: a program, with limits to what it "
        "may use up (default: off)",
    )
    _add_process_flags(parser)


def _add_process_flags(parser: argparse.ArgumentParser) -> None:
    queue = parser.add_argument_group("queue")
    queue.add_argument(
        "--max-num-queued-reqs",
        metavar="N",
        type=_count_or_none,
        default=DEFAULT_QUEUED_REQUESTS,
        help="requests that may wait, or 'none'; more are refused with 503 (default: %(default)s)",
    )
    queue.add_argument(
        "--max-num-queued-tokens",
        metavar="TOKENS",
        type=_count_or_none,
        help="prompt tokens that may wait (default: none, no limit)",
    )
    engine = parser.add_argument_group("engine process")
    engine.add_argument(
        "--engine-timeout",
        metavar="SECONDS",
        type=float,
        default=DEFAULT_ENGINE_TIMEOUT_S,
        help="an engine that does not end a step for so long is restarted (default: %(default)g)",
    )
    engine.add_argument(
        "--max-restarts",
        metavar="N",
        type=int,
        default=DEFAULT_RESTARTS,
        help="how often in a row the engine is restarted (default: %(default)s)",
    )
    engine.add_argument(
        "--no-restart",
        dest="max_restarts",
        action="store_const",
        const=0,
        help="end with status 1 when the engine ends",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = chat_settings_of(args)
    settings = replace(
        settings,
        host=args.host,
        port=args.port,
        served_model_name=args.served_model_name,
        api_key=args.api_key or settings.api_key,
        api_processes=args.api_processes,
        trust_request_chat_template=args.trust_request_chat_template,
        shutdown_timeout_s=args.shutdown_timeout,
        max_queued_requests=args.max_num_queued_reqs,
        max_queued_tokens=args.max_num_queued_tokens,
        engine_timeout_s=args.engine_timeout,
        max_restarts=args.max_restarts,
    )
    return serve(settings, Story())


def serve(settings: Settings, story: Story, *, loader: str | None = None) -> int:
    """Load a model in an engine process and serve it until told to stop; give the exit status.

    `loader` names another function than the usual one, as `module:name`, that loads it.

    Effects: SIGTERM interrupts as Ctrl-C does, from here to the end of the process.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from octavo.server.listening import listeners

    with ExitStack() as stack:
        taken = listeners(settings.host, settings.port, settings.api_processes)
        for each in taken:
            stack.enter_context(each)
        try:
            status = _serve(settings, story, taken, loader)
        except KeyboardInterrupt:
            status = 0
    story("stopped")
    return status


def _serve(
    settings: Settings, story: Story, taken: Sequence[socket.socket], loader: str | None
) -> int:
    from octavo.process.child import LOADER, ChildHost
    from octavo.process.client import EngineClient
    from octavo.process.queue import QueueLimits

    story.plain(f"Octavo {octavo.__version__}")
    if settings.model is None:
        story.plain(
            "No model was named, so this serves a small demo model. "
            "Yours: octavo serve FOLDER or octavo serve FILE.gguf"
        )
    story("loading")
    ending = _Ending(story)
    host = ChildHost(settings, loader=loader or LOADER, gave_up=ending.now)
    limits = QueueLimits(settings.max_queued_requests, settings.max_queued_tokens)
    engine = EngineClient(host, limits=limits, say=story)
    try:
        engine.start()
        return _answer(engine, host, settings, story, taken, ending)
    finally:
        engine.close()


class _Ending:
    """Ends the server when something that it needs is gone for good, whenever that is."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._server: Server | None = None
        self._is_due = False

    def now(self, reason: str) -> None:
        """End, with status 1."""
        self._story(f"giving up: {reason}")
        self._is_due = True
        if self._server is not None:
            self._server.end(1)

    def applies_to(self, server: Server) -> None:
        """Say which server is to end; at once where the end came before it."""
        self._server = server
        if self._is_due:
            server.end(1)


def _answer(
    engine: EngineClient,
    host: ChildHost,
    settings: Settings,
    story: Story,
    taken: Sequence[socket.socket],
    ending: _Ending,
) -> int:
    """Answer HTTP until told to stop; what is imported here takes long, but so does loading."""
    from octavo.process.facts import far_model
    from octavo.server.running import Server
    from octavo.server.served import Served
    from octavo.server.siblings import Siblings

    facts = engine.wait_ready()
    story.plain(facts.plan)
    story("starting the server")
    served = Served.by(
        engine,
        far_model(facts, settings),
        name=settings.served_model_name,
        trusts_templates=settings.trust_request_chat_template,
    )
    siblings = Siblings(host.place, settings, taken[1:], gave_up=ending.now)
    url = _url(*taken[0].getsockname()[:2])

    def announce() -> None:
        story(f"serving {served.name} on {url}")
        story.plain(f"\nTry it:\n{_curl(url, served.name, settings.api_key)}\n")

    server = Server(
        served,
        api_key=settings.api_key,
        drain_s=settings.shutdown_timeout_s,
        began=announce,
        drains=siblings.drain,
    )
    ending.applies_to(server)
    try:
        siblings.start()
        status = server.until_told(taken[0])
        siblings.stop(now=server.force_exit)
        if server.force_exit:
            host.kill()
        return status
    finally:
        siblings.stop(now=True)


def _count_or_none(text: str) -> int | None:
    return None if text == "none" else int(text)


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
