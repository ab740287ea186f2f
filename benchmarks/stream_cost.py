"""What a streamed token costs the process that answers HTTP: from engine message to socket.

    engine process ─▶ message ─▶ client's thread: text ─▶ event loop: a chunk of JSON ─▶ socket
                      └────────────────── what is counted here ──────────────────┘

`octavo serve` runs as it does for users, around the model without weights, whose steps take 20 ms
and more, so that hardly any chunk has two tokens. Clients stream chats; once each has a chunk, the
processor time of the API process is read by thread, and again some seconds later.

    python benchmarks/stream_cost.py --streams 256 --out benchmarks/results/stream-cost.json

Linux only. Knows nothing of what clients do with a chunk, nor of what a step costs the engine.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import quiet

from octavo.testing.hosted import LONG
from octavo.testing.spawned import Spawned, spawned

ASKED = {
    "messages": [{"role": "user", "content": "x"}],
    "max_tokens": LONG - 100,
    "ignore_eos": True,
    "stream": True,
}
CHUNK = b"data: "
READ_BYTES = 1 << 20
TICK_S = 0.1


class Clients:
    """Streams that are read and counted, and not looked into."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.num_chunks: Counter[int] = Counter()
        self._ready = selectors.DefaultSelector()
        for each in sockets:
            each.setblocking(False)
            self._ready.register(each, selectors.EVENT_READ)

    def read(self, seconds: float) -> None:
        """Read for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in self._ready.select(TICK_S):
                read: bytes = key.fileobj.recv(READ_BYTES)  # type: ignore[union-attr]
                self.num_chunks[key.fd] += read.count(CHUNK)


def connected(server: Spawned) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", server.port))


@contextmanager
def clients(server: Spawned, count: int) -> Iterator[Clients]:
    """Open so many streams, of which each has its opening and a token."""
    body = json.dumps(ASKED).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with ExitStack() as stack:
        sockets = [stack.enter_context(connected(server)) for _ in range(count)]
        for each in sockets:
            each.sendall(head.encode() + body)
        all_clients = Clients(sockets)
        while len(all_clients.num_chunks) < count or min(all_clients.num_chunks.values()) < 2:
            all_clients.read(TICK_S)
        yield all_clients


def spent_us(pid: int) -> tuple[float, float]:
    """Read the processor time of a process's first thread, and of all its others together."""
    first, others = 0.0, 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        spent = int((thread / "schedstat").read_text(encoding="utf-8").split()[0]) / 1000
        if int(thread.name) == pid:
            first += spent
        else:
            others += spent
    return first, others


def measure(num_streams: int, seconds: float) -> dict[str, float]:
    """Stream for some seconds. Units: microseconds of a processor, and chunks."""
    settings = {"max_requests": num_streams}
    with (
        tempfile.TemporaryDirectory() as folder,
        spawned(Path(folder) / "model", loader="load_slow", settings=settings) as server,
        clients(server, num_streams) as streams,
    ):
        began = time.monotonic()
        loop_us, others_us = spent_us(server.process.pid)
        num_chunks = streams.num_chunks.total()
        streams.read(seconds)
        loop_after_us, others_after_us = spent_us(server.process.pid)
        num_chunks = streams.num_chunks.total() - num_chunks
        passed_s = time.monotonic() - began
    loop_us, others_us = loop_after_us - loop_us, others_after_us - others_us
    return {
        "us per chunk": (loop_us + others_us) / num_chunks,
        "us per chunk, event loop": loop_us / num_chunks,
        "us per chunk, client's thread": others_us / num_chunks,
        "chunks per s": num_chunks / passed_s,
    }


def main() -> None:
    """Measure some times; print the medians, and write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description="The cost of streams, a chunk.")
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    arguments = parser.parse_args()
    runs = [measure(arguments.streams, arguments.seconds) for _ in range(arguments.runs)]
    found = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}
    for key, figure in found.items():
        print(f"{figure:>10.2f}  {key}")
    what = f"processor time of the API process, {arguments.streams} streams of chats"
    quiet.write(arguments.out, what, found)


if __name__ == "__main__":
    main()
