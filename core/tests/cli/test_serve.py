"""`octavo serve`, as processes that are started, asked, killed and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from octavo.cli.main import main
from octavo.cli.main import serve as serve_alone
from octavo.testing.hosted import HANGS, HOLD, LONG, RAISES, null_folder
from octavo.testing.served import until
from octavo.testing.spawned import Spawned, is_running, spawned

ENDLESS = {"prompt": "x", "max_tokens": LONG - 10, "ignore_eos": True, "temperature": 0}
SHORT = {"prompt": "x", "max_tokens": 3, "ignore_eos": True}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Spawned]:
    """A server of the model without weights, on a slow device that may be told to misbehave."""
    settings = {"engine_timeout_s": 1.0, "shutdown_timeout_s": 0.2}
    with spawned(tmp_path / "model", loader="load_troubled", settings=settings) as each:
        yield each


def complete(server: Spawned, body: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)


def status_of(server: Spawned, path: str) -> int:
    return httpx.get(f"{server.url}{path}", timeout=60).status_code


def frames(answer: httpx.Response) -> Iterator[str]:
    return (line.removeprefix("data: ") for line in answer.iter_lines() if line)


def test_the_story_tells_stages_plan_address_and_a_command_that_works(server: Spawned) -> None:
    said = server.said
    assert re.search(r"\d\.\d s  loading", said)
    assert re.search(r"\d\.\d s  reading 0 bytes of weights", said)
    assert "nothing runs anywhere" in said
    assert re.search(r"serving null on http://127\.0\.0\.1:\d+", said)
    url = re.search(r"curl (\S+)", said)
    assert server.process.stderr is not None
    body = re.search(r"-d '(.*)'", server.process.stderr.readline())
    assert url
    assert body
    answer = httpx.post(url[1], json={**json.loads(body[1]), "max_tokens": 2})
    assert answer.json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_with_status_0_and_leaves_nothing(
    server: Spawned, sent: signal.Signals
) -> None:
    (engine,) = server.engines()
    server.process.send_signal(sent)
    rest = server.rest()
    assert server.process.returncode == 0
    assert "stopped" in rest
    assert "Traceback" not in rest
    assert not is_running(engine)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_while_it_loads_it_ends_as_well(tmp_path: Path, sent: signal.Signals) -> None:
    null_folder(tmp_path)
    (tmp_path / HOLD).touch()
    with spawned(tmp_path, awaits="reading 0 bytes") as server:
        (engine,) = server.engines()
        server.process.send_signal(sent)
        rest = server.rest()
        assert server.process.returncode == 0
        assert "Traceback" not in rest
        assert not is_running(engine)


def test_an_open_stream_is_told_that_the_server_stops(server: Spawned) -> None:
    with httpx.stream("POST", f"{server.url}/v1/completions", json={**ENDLESS, "stream": True}) as (
        answer
    ):
        lines = frames(answer)
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        *_, error, done = lines
    assert "shutting down" in json.loads(error)["error"]["message"]
    assert done == "[DONE]"
    assert "Traceback" not in server.rest()
    assert server.process.returncode == 0


def test_while_it_drains_it_is_healthy_not_ready_and_lets_nobody_in(tmp_path: Path) -> None:
    settings = {"shutdown_timeout_s": 60.0}
    with spawned(tmp_path / "model", loader="load_slow", settings=settings) as server:
        body = {**ENDLESS, "max_tokens": 60, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
            lines = frames(answer)
            next(lines)
            assert status_of(server, "/ready") == 200
            server.process.send_signal(signal.SIGTERM)
            until(lambda: status_of(server, "/ready") == 503)
            assert status_of(server, "/health") == 200
            refused = complete(server, SHORT)
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
            *_, last, done = lines
        assert json.loads(last)["choices"][0]["finish_reason"] == "length"
        assert done == "[DONE]"
        server.rest()
        assert server.process.returncode == 0


def test_a_second_interrupt_ends_it_now(tmp_path: Path) -> None:
    settings = {"shutdown_timeout_s": 3600.0}
    with spawned(tmp_path / "model", loader="load_slow", settings=settings) as server:
        (engine,) = server.engines()
        body = {**ENDLESS, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
            lines = frames(answer)
            next(lines)
            server.process.send_signal(signal.SIGINT)
            until(lambda: status_of(server, "/ready") == 503)
            server.process.send_signal(signal.SIGINT)
            assert "Traceback" not in server.rest()
        assert server.process.returncode == 130
        until(lambda: not is_running(engine))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_frozen_engine_fails_what_is_open_and_comes_back(
    server: Spawned, sent: signal.Signals, tmp_path: Path
) -> None:
    (engine,) = server.engines()
    hold = tmp_path / "model" / HOLD
    hold.touch()
    with httpx.stream("POST", f"{server.url}/v1/completions", json={**ENDLESS, "stream": True}) as (
        answer
    ):
        lines = frames(answer)
        next(lines)
        os.kill(engine, sent)
        *_, error, done = lines
    assert json.loads(error)["error"]["code"] == "engine_error"
    assert done == "[DONE]"
    assert status_of(server, "/health") == 503
    refused = complete(server, SHORT)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    hold.unlink()
    until(lambda: status_of(server, "/health") == 200)
    (successor,) = server.engines()
    assert successor != engine
    assert complete(server, SHORT).json()["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("trouble", [RAISES, HANGS])
def test_a_device_that_breaks_or_hangs_costs_its_requests_and_no_more(
    server: Spawned, trouble: int
) -> None:
    broken = complete(server, {**SHORT, "prompt": [trouble]})
    assert broken.status_code == 500
    assert broken.json()["error"]["code"] == "engine_error"
    assert ("the device is on fire" in broken.text) == (trouble == RAISES)
    until(lambda: status_of(server, "/health") == 200)
    assert complete(server, SHORT).status_code == 200


def test_a_frozen_engine_is_not_healthy_and_one_that_goes_on_in_time_is_kept(
    tmp_path: Path,
) -> None:
    with spawned(tmp_path / "model") as server:
        (engine,) = server.engines()
        os.kill(engine, signal.SIGSTOP)
        until(lambda: status_of(server, "/health") == 503)
        os.kill(engine, signal.SIGCONT)
        until(lambda: status_of(server, "/health") == 200)
        assert server.engines() == [engine]
        assert complete(server, SHORT).status_code == 200


def test_without_restarts_the_end_of_the_engine_ends_the_server_with_status_1(
    tmp_path: Path,
) -> None:
    with spawned(tmp_path / "model", settings={"max_restarts": 0}) as server:
        (engine,) = server.engines()
        os.kill(engine, signal.SIGKILL)
        rest = server.rest()
        assert server.process.returncode == 1
        assert "ended by signal 9" in rest


def test_an_engine_outlives_its_server_by_no_more_than_a_moment(server: Spawned) -> None:
    (engine,) = server.engines()
    server.process.kill()
    until(lambda: not is_running(engine))


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Spawned]:
    """A server with three API processes."""
    with spawned(tmp_path / "model", loader="load_slow", settings={"api_processes": 3}) as each:
        yield each


def test_api_processes_answer_on_one_port_and_end_with_the_first(three: Spawned) -> None:
    siblings = three.siblings()
    assert len(siblings) == 2
    answers = [complete(three, SHORT) for _ in range(12)]
    assert {each.status_code for each in answers} == {200}
    three.process.send_signal(signal.SIGTERM)
    assert "Traceback" not in three.rest()
    assert three.process.returncode == 0
    assert not any(is_running(each) for each in siblings)


def test_api_processes_end_when_the_first_is_killed(three: Spawned) -> None:
    assert all(complete(three, SHORT).is_success for _ in range(12))
    others = [*three.siblings(), *three.engines()]
    three.process.kill()
    until(lambda: not any(is_running(each) for each in others))


def test_a_killed_api_process_is_replaced_and_its_requests_end(three: Spawned) -> None:
    siblings = three.siblings()
    body = json.dumps({**ENDLESS, "stream": True}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with ExitStack() as stack:
        for _ in range(16):
            each = socket.create_connection(("127.0.0.1", three.port), timeout=60)
            stack.enter_context(each).sendall(request)
        until(lambda: three.seen().running + three.seen().waiting == 16)
        for pid in siblings:
            os.kill(pid, signal.SIGKILL)
        until(lambda: three.seen().running + three.seen().waiting < 16)
    until(lambda: three.seen().running + three.seen().waiting == 0)
    until(lambda: len(set(three.siblings()) - set(siblings)) == 2)
    answers = [complete(three, SHORT) for _ in range(12)]
    assert {each.status_code for each in answers} == {200}


def test_more_than_may_wait_is_refused_before_it_is_read_with_when_to_come_again(
    tmp_path: Path,
) -> None:
    settings = {"max_requests": 1, "max_queued_requests": 1}
    with spawned(tmp_path / "model", loader="load_slow", settings=settings) as server:
        body = {**ENDLESS, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
            lines = frames(answer)
            next(lines)
            refused = complete(server, {**SHORT, "prompt": ["a", "b"]})
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert "more work than it may queue" in refused.json()["error"]["message"]
            assert complete(server, {**SHORT, "prompt": "x" * LONG}).status_code == 400
        until(lambda: server.seen().running == 0)
        assert complete(server, {**SHORT, "prompt": ["a", "b"]}).status_code == 200
        never = complete(server, {**SHORT, "prompt": ["a", "b", "c"]})
        assert (never.status_code, never.json()["error"]["param"]) == (400, "n")


def test_a_model_that_cannot_be_loaded_ends_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no model at all"):  # noqa: SIM117
        with spawned(tmp_path / "model", loader="refuse"):
            pass


@pytest.mark.parametrize("start", [main, serve_alone])
def test_a_busy_port_is_known_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], start: object
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = ["/no/such/model", "--port", str(port)]
        status = main(["serve", *argv]) if start is main else serve_alone(argv)
    assert status == 2
    assert f"Port {port} on 127.0.0.1 is in use" in capsys.readouterr().err


def test_an_address_of_another_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "203.0.113.7"]) == 2
    assert "Cannot listen on 203.0.113.7" in capsys.readouterr().err
