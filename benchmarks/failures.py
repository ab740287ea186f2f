"""What clients see when something dies: an engine killed, frozen or hung, a server told to stop.

    python benchmarks/failures.py --out benchmarks/results/failures.json

Real processes and signals around the model without weights, whose steps take 20 ms and which
loads in no time: the figures are those of the boundary, to which a model adds its own loading.
Each case is run several times; the times are from the signal, as a client sees them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import quiet

from octavo.testing.hosted import HANGS, LONG
from octavo.testing.spawned import Spawned, spawned

TIMEOUT_S = 2.0
STREAMS = 8
VISITORS = 1000
ENDLESS = {"prompt": "x", "max_tokens": LONG - 10, "ignore_eos": True, "stream": True}
SHORT = {"prompt": "x", "max_tokens": 1, "ignore_eos": True}

Figures = dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to write JSON")
    args = parser.parse_args()
    cases: Mapping[str, Callable[[Path], Figures]] = {
        "engine killed (kill -9)": lambda folder: _lost(folder, signal.SIGKILL),
        f"engine frozen (SIGSTOP), --engine-timeout {TIMEOUT_S:g}": lambda folder: _lost(
            folder, signal.SIGSTOP
        ),
        f"device hung in a step, --engine-timeout {TIMEOUT_S:g}": _hung,
        f"SIGTERM with {STREAMS} streams that end in time": lambda folder: _stopped(folder, 30.0),
        f"SIGTERM with {STREAMS} streams that do not, --shutdown-timeout 1": lambda folder: (
            _stopped(folder, 1.0)
        ),
        "server killed (kill -9)": _orphaned,
        f"{VISITORS} clients that hang up at random": _visited,
    }
    report: dict[str, object] = {"machine": quiet.machine(), "runs": args.runs}
    for name, measure in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            runs = [measure(Path(folder)) for _ in range(args.runs)]
        report[name] = {
            key: {
                "median": round(statistics.median(run[key] for run in runs), 4),
                "max": round(max(run[key] for run in runs), 4),
            }
            for key in runs[0]
        }
        print(json.dumps({name: report[name]}, indent=1), flush=True)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _lost(folder: Path, sent: signal.Signals) -> Figures:
    settings = {"engine_timeout_s": TIMEOUT_S}
    with spawned(folder, loader="load_slow", settings=settings) as server, _stream(server) as lines:
        (engine,) = server.engines()
        next(lines)
        os.kill(engine, sent)
        return _recovery(server, lambda: list(lines), time.monotonic())


def _hung(folder: Path) -> Figures:
    settings = {"engine_timeout_s": TIMEOUT_S}
    with spawned(folder, loader="load_troubled", settings=settings) as server:
        began = time.monotonic()
        body = {**SHORT, "prompt": [HANGS]}
        return _recovery(server, lambda: [_post(server, body).text], began)


def _recovery(server: Spawned, last_words: Callable[[], list[str]], began: float) -> Figures:
    seen: Figures = {}

    def watch() -> None:
        _until(lambda: _status(server, "/health") == 503)
        seen["health_is_503_s"] = time.monotonic() - began

    watcher = threading.Thread(target=watch)
    watcher.start()
    words = last_words()
    seen["error_reaches_the_client_s"] = time.monotonic() - began
    assert any("engine_error" in each for each in words[-2:]), words[-2:]
    watcher.join()
    _until(lambda: _post(server, SHORT).status_code == 200)
    seen["answers_again_s"] = time.monotonic() - began
    return seen


def _stopped(folder: Path, drain_s: float) -> Figures:
    settings = {"shutdown_timeout_s": drain_s}
    body = {**ENDLESS, "max_tokens": 100 if drain_s > 1 else LONG - 10}
    ends: list[list[str]] = []
    with spawned(folder, loader="load_slow", settings=settings) as server:

        def read() -> None:
            with _stream(server, body) as lines:
                ends.append(list(lines)[-2:])

        readers = [threading.Thread(target=read) for _ in range(STREAMS)]
        for each in readers:
            each.start()
        _until(lambda: server.seen().running == STREAMS)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: _status(server, "/ready") != 200)
        ready_s = time.monotonic() - began
        server.rest()
        ended_s = time.monotonic() - began
        for each in readers:
            each.join()
    whole = sum('"finish_reason": "length"' in last for last, _ in ends)
    told = sum("shutting down" in last for last, _ in ends)
    assert all(done == "data: [DONE]" for _, done in ends)
    return {
        "ready_is_503_s": ready_s,
        "process_ended_s": ended_s,
        "exit_status": float(server.process.returncode or 0),
        "streams_that_ended_whole": float(whole),
        "streams_that_ended_with_an_error_frame": float(told),
    }


def _orphaned(folder: Path) -> Figures:
    with spawned(folder, loader="load_slow") as server:
        began = time.monotonic()
        server.process.kill()
        _until(lambda: not any(server.temporary.iterdir()))
        return {"engine_and_its_files_gone_s": time.monotonic() - began}


def _visited(folder: Path) -> Figures:
    chance = random.Random(7)
    body = json.dumps(ENDLESS).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with spawned(folder, settings={"max_requests": 64}) as server:
        began = time.monotonic()
        inside: list[socket.socket] = []
        for _ in range(VISITORS):
            visitor = socket.create_connection(("127.0.0.1", server.port))
            visitor.sendall(request)
            inside.append(visitor)
            while len(inside) > 60 or chance.random() < 0.4 * bool(inside):
                inside.pop(chance.randrange(len(inside))).close()
        for visitor in inside:
            visitor.close()
        gone = time.monotonic()
        _until(lambda: server.seen().running + server.seen().waiting == 0)
        free_s = time.monotonic() - gone
        assert _post(server, SHORT).status_code == 200
    return {"visits_took_s": gone - began, "everything_free_after_the_last_s": free_s}


@contextmanager
def _stream(server: Spawned, body: Mapping[str, object] = ENDLESS) -> Iterator[Iterator[str]]:
    """Open a stream; give its lines as they come."""
    url = f"{server.url}/v1/completions"
    with httpx.stream("POST", url, json=body, timeout=None) as answer:
        yield (line for line in answer.iter_lines() if line)


def _post(server: Spawned, body: Mapping[str, object]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/completions", json=body, timeout=None)


def _status(server: Spawned, path: str) -> int:
    try:
        return httpx.get(f"{server.url}{path}", timeout=60).status_code
    except httpx.HTTPError:
        return 0


def _until(is_true: Callable[[], bool]) -> None:
    while not is_true():
        time.sleep(0.002)


if __name__ == "__main__":
    main()
