"""`octavo serve`, as a process that is started, asked and stopped."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from octavo.cli.main import main
from octavo.cli.main import serve as serve_alone

SCRIPT = """
import sys
from dataclasses import replace
from octavo.cli.serve import serve
from octavo.cli.story import Story
from octavo.config import from_environment
from octavo.testing.loaded import NullLoaded, null_limits
from octavo.testing.null import null_engine

settings = replace(from_environment({}), port=0)
engine = null_engine(null_limits(max_context_tokens=100_000, max_requests=2))
loaded = NullLoaded(engine=engine, max_context_tokens=100_000)
sys.exit(serve(settings, lambda settings, *, report: loaded, Story(), drain_s=0.1))
"""


@pytest.fixture
def started() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give a server's process once it answers, and all that it said until then."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, text=True
    ) as each:
        assert each.stderr is not None
        said = ""
        while "curl" not in said:
            line = each.stderr.readline()
            assert line, said
            said += line
        said += each.stderr.readline()
        yield each, said
        each.kill()


def test_the_story_tells_stages_plan_address_and_a_command_that_works(
    started: tuple[subprocess.Popen[str], str],
) -> None:
    _, said = started
    assert re.search(r"\d\.\d s  loading", said)
    assert "nothing runs anywhere" in said
    assert "octavo serve FOLDER" in said
    assert re.search(r"serving null on http://127\.0\.0\.1:\d+", said)
    url = re.search(r"curl (\S+)", said)
    body = re.search(r"-d '(.*)'", said)
    assert url
    assert body
    answer = httpx.post(url[1], json={**json.loads(body[1]), "max_tokens": 2})
    assert answer.json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_with_status_0(
    started: tuple[subprocess.Popen[str], str], sent: signal.Signals
) -> None:
    process, _ = started
    process.send_signal(sent)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_an_open_stream_is_told_that_the_server_stops(
    started: tuple[subprocess.Popen[str], str],
) -> None:
    process, said = started
    url = re.search(r"serving null on (\S+)", said)
    assert url
    body = {"prompt": "x", "max_tokens": 90_000, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{url[1]}/v1/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        *_, error, done = [line for line in lines if line]
    assert "shutting down" in json.loads(error.removeprefix("data: "))["error"]["message"]
    assert done == "data: [DONE]"
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in rest


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
