"""`python -m octavo.server`: a further process that answers HTTP, for an engine that runs.

It is told on its standard input where the engine is and on which listener to answer; it ends
when told to by SIGTERM, or with the process that started it.

Does not know how many of its kind there are.
"""

from __future__ import annotations

import os
import socket
import sys

from octavo.process.channel import Place
from octavo.process.client import EngineClient
from octavo.process.facts import far_model
from octavo.process.host import Neighbour
from octavo.process.launch import read_note
from octavo.process.pulse import Pulse
from octavo.process.queue import QueueLimits
from octavo.server.running import Server
from octavo.server.served import Served
from octavo.server.siblings import SiblingLaunch

_STDIN = 0


def main() -> int:
    """Answer until told to stop; give the exit status."""
    launch = read_note(SiblingLaunch, _STDIN)
    settings = launch.settings
    Pulse(lambda: None, parent=_STDIN, orphaned=lambda: os._exit(1)).start()
    limits = QueueLimits(settings.max_queued_requests, settings.max_queued_tokens)
    engine = EngineClient(Neighbour(Place(launch.folder)), limits=limits)
    engine.start()
    model = far_model(engine.wait_ready(), settings)
    server = Server(
        Served.by(
            engine,
            model,
            name=settings.served_model_name,
            trusts_templates=settings.trust_request_chat_template,
        ),
        api_key=settings.api_key,
        drain_s=settings.shutdown_timeout_s,
    )
    status = server.until_told(socket.socket(fileno=launch.listener))
    engine.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
