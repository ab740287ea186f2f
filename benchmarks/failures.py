"""What clients see when something dies: an engine killed, frozen or hung, a server told to stop.

    python benchmarks/failures.py --out benchmarks/results/failures.json

Real processes and signals around the model without weights, whose steps take 20 ms and which
loads in no time: the figures are those of the boundary, to which a model adds its own loading.
Each case is run several times, with other streams open where a process is killed; the times are
from the signal, as a client sees them, and the largest of all clients'.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import quiet

from octavo.testing.hosted import HANGS, LONG
from octavo.testing.spawned import Spawned, spawned

TIMEOUT_S = 2.0
FROZEN_S = 30.0
STREAMS = 8
VISITORS = 1000
FLOOD = 400
GREEDY_N = 10_000
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
            folder, signal.SIGSTOP, {"engine_timeout_s": TIMEOUT_S}
        ),
        f"engine frozen (SIGSTOP) for {FROZEN_S:g} s": _frozen,
        f"device hung in a step, --engine-timeout {TIMEOUT_S:g}": _hung,
        f"SIGTERM with {STREAMS} streams that end in time": lambda folder: _stopped(folder, 30.0),
        f"SIGTERM with {STREAMS} streams that do not, --shutdown-timeout 1": lambda folder: (
            _stopped(folder, 1.0)
        ),
        "server killed (kill -9)": _orphaned,
        "one of three API processes killed (kill -9)": _one_of_three,
        f"one client asks for n = {GREEDY_N}": _greedy,
        f"{FLOOD} requests at once, 8 seats, 32 may wait": _flooded,
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


def _lost(
    folder: Path, sent: signal.Signals, settings: Mapping[str, object] | None = None
) -> Figures:
    with spawned(folder, loader="load_slow", settings=settings) as server:
        (engine,) = server.engines()
        with _streams(server) as ends:
            began = time.monotonic()
            os.kill(engine, sent)
            return _recovery(server, ends, began)


def _frozen(folder: Path) -> Figures:
    """Look at what is asked within the time, of a server with settings as they are given."""
    with spawned(folder, loader="load_slow") as server:
        (engine,) = server.engines()
        with _streams(server) as ends:
            began = time.monotonic()
            os.kill(engine, signal.SIGSTOP)
            seen = _recovery(server, ends, began)
            answered = 0
            while time.monotonic() - began < FROZEN_S:
                answered += _post(server, SHORT).status_code == 200
            return {**seen, "answers_within_the_time": float(answered)}


def _hung(folder: Path) -> Figures:
    settings = {"engine_timeout_s": TIMEOUT_S}
    with (
        spawned(folder, loader="load_troubled", settings=settings) as server,
        _streams(server, count=STREAMS - 1) as ends,
    ):
        began = time.monotonic()
        hung = threading.Thread(target=_post, args=(server, {**SHORT, "prompt": [HANGS]}))
        hung.start()
        seen = _recovery(server, ends, began)
        hung.join()
        return seen


def _recovery(server: Spawned, ends: _Ends, began: float) -> Figures:
    seen: Figures = {}

    def watch() -> None:
        _until(lambda: _status(server, "/health") == 503)
        seen["health_is_503_s"] = time.monotonic() - began

    watcher = threading.Thread(target=watch)
    watcher.start()
    words = ends.wait()
    assert all("engine_error" in "".join(each.lines) for each in words), words
    seen["streams_told_of_it"] = float(len(words))
    seen["error_reaches_every_client_s"] = max(each.at for each in words) - began
    watcher.join()
    _until(lambda: _post(server, SHORT).status_code == 200)
    seen["answers_again_s"] = time.monotonic() - began
    return seen


def _stopped(folder: Path, drain_s: float) -> Figures:
    settings = {"shutdown_timeout_s": drain_s}
    body = {**ENDLESS, "max_tokens": 100 if drain_s > 1 else LONG - 10}
    with (
        spawned(folder, loader="load_slow", settings=settings) as server,
        _streams(server, body) as ends,
    ):
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: _status(server, "/ready") != 200)
        ready_s = time.monotonic() - began
        server.rest()
        ended_s = time.monotonic() - began
        words = ends.wait()
    assert all(each.lines[-1] == "data: [DONE]" for each in words)
    return {
        "ready_is_503_s": ready_s,
        "process_ended_s": ended_s,
        "exit_status": float(server.process.returncode or 0),
        "streams_that_ended_whole": _count(words, '"finish_reason": "length"'),
        "streams_that_ended_with_an_error_frame": _count(words, "shutting down"),
    }


def _orphaned(folder: Path) -> Figures:
    with spawned(folder, loader="load_slow") as server:
        began = time.monotonic()
        server.process.kill()
        _until(lambda: not any(server.temporary.iterdir()))
        return {"engine_and_its_files_gone_s": time.monotonic() - began}


def _one_of_three(folder: Path) -> Figures:
    with spawned(folder, loader="load_slow", settings={"api_processes": 3}) as server:
        _until(lambda: len(server.siblings()) == 2)
        with _streams(server, count=4 * STREAMS) as ends:
            open_before = server.seen().running + server.seen().waiting
            began = time.monotonic()
            os.kill(server.siblings()[0], signal.SIGKILL)
            _until(lambda: server.seen().running + server.seen().waiting < open_before)
            ended_s = time.monotonic() - began
            left = server.seen().running + server.seen().waiting
            _until(lambda: len(server.siblings()) == 2)
            again_s = time.monotonic() - began
            server.process.send_signal(signal.SIGTERM)
            server.process.kill()
            ends.wait()
    return {
        "its_requests_left_the_engine_s": ended_s,
        "streams_open": float(open_before),
        "streams_of_others_that_go_on": float(left),
        "started_again_s": again_s,
    }


def _greedy(folder: Path) -> Figures:
    """Time a short request of somebody else, alone and after one that asks for so many answers."""
    with spawned(folder, loader="load_slow") as server:
        alone = _time(lambda: _post(server, SHORT))
        status: list[int] = []
        asking = threading.Thread(
            target=lambda: status.append(_post(server, {**SHORT, "n": GREEDY_N}).status_code)
        )
        asking.start()
        time.sleep(0.05)
        beside = _time(lambda: _post(server, SHORT))
        asking.join()
    return {"another_alone_s": alone, "another_beside_s": beside, "status": float(status[0])}


def _flooded(folder: Path) -> Figures:
    settings = {"max_requests": 8, "max_queued_requests": 32}
    answers: list[tuple[float, httpx.Response]] = []

    def ask(server: Spawned) -> None:
        began = time.monotonic()
        answer = _post(server, {**SHORT, "max_tokens": 20})
        answers.append((time.monotonic() - began, answer))

    with spawned(folder, loader="load_slow", settings=settings) as server:
        asking = [threading.Thread(target=ask, args=(server,)) for _ in range(FLOOD)]
        for each in asking:
            each.start()
        for each in asking:
            each.join()
        assert _post(server, SHORT).status_code == 200
    refused = [(took, each) for took, each in answers if each.status_code == 503]
    assert all(int(each.headers["Retry-After"]) >= 1 for _, each in refused)
    return {
        "answered": float(sum(each.status_code == 200 for _, each in answers)),
        "refused_with_when_to_come_again": float(len(refused)),
        "other": float(len(answers)) - sum(each.status_code in {200, 503} for _, each in answers),
        "slowest_refusal_s": max(took for took, _ in refused),
    }


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


@dataclass(frozen=True, slots=True)
class _End:
    """The last lines of a stream, and when the last came."""

    lines: list[str]
    at: float


class _Ends:
    """Streams that are read until they end, each in a thread of its own."""

    def __init__(self, server: Spawned, body: Mapping[str, object], count: int) -> None:
        self._ends: list[_End] = []
        self._threads = [
            threading.Thread(target=self._read, args=(server, body)) for _ in range(count)
        ]
        for each in self._threads:
            each.start()

    def wait(self) -> list[_End]:
        """Wait for them all."""
        for each in self._threads:
            each.join()
        return self._ends

    def _read(self, server: Spawned, body: Mapping[str, object]) -> None:
        url = f"{server.url}/v1/completions"
        lines: list[str] = []
        with (
            suppress(httpx.TransportError),
            httpx.stream("POST", url, json=body, timeout=None) as answer,
        ):
            for line in answer.iter_lines():
                lines = [*lines[-2:], line] if line else lines
        self._ends.append(_End(lines, time.monotonic()))


@contextmanager
def _streams(
    server: Spawned, body: Mapping[str, object] = ENDLESS, *, count: int = STREAMS
) -> Iterator[_Ends]:
    """Open streams, and wait until they all run or wait."""
    ends = _Ends(server, body, count)
    _until(lambda: server.seen().running + server.seen().waiting >= count)
    time.sleep(0.1)
    yield ends


def _count(words: Sequence[_End], text: str) -> float:
    return float(sum(text in "".join(each.lines) for each in words))


def _time(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began


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
