"""Clients that go away, engines that break: what is left afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from octavo.heart import heart
from octavo.scheduler import Limits
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, byte_tokenizer, null_limits
from octavo.testing.null import NullPending, NullProgram, by_hand, null_engine
from octavo.testing.served import Live, running, until
from octavo_platforms.inputs import StepInputs

LONG = 100_000
GENERATE = "/v1/completions"


@pytest.fixture
def endless() -> Iterator[Live]:
    """A server whose outputs take longer than any test, two at a time."""
    limits = null_limits(max_context_tokens=LONG, max_requests=2)
    with running(NullLoaded(engine=null_engine(limits), max_context_tokens=LONG)) as server:
        yield server


def post(path: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("prompt", ["one", ["one", "two", "three"]])
def test_a_client_that_hangs_up_leaves_no_block_held(
    endless: Live, stream: bool, prompt: object
) -> None:
    engine = endless.loaded.engine
    body = {"prompt": prompt, "max_tokens": LONG, "ignore_eos": True, "stream": stream}
    with endless.connect() as client:
        client.sendall(post(GENERATE, body))
        if stream:
            received = b""
            while received.count(b"data:") < 20:
                received += client.recv(4096)
            assert b"200 OK" in received
        until(lambda: engine.stats.held_blocks > 0)
    until(lambda: not engine.has_work)
    stats = engine.stats
    assert (stats.held_blocks, stats.running, stats.waiting) == (0, 0, 0)
    after = httpx.post(endless.url + GENERATE, json={"prompt": "x", "max_tokens": 1})
    assert after.status_code == 200


def test_a_client_that_hangs_up_while_it_waits_is_forgotten(
    endless: Live,
) -> None:
    engine = endless.loaded.engine
    body = {"prompt": ["a", "b"], "max_tokens": LONG, "ignore_eos": True}
    with endless.connect() as running:
        running.sendall(post(GENERATE, body))
        until(lambda: engine.stats.running == 2)
        with endless.connect() as waiting:
            waiting.sendall(post(GENERATE, {**body, "prompt": "c", "stream": True}))
            until(lambda: endless.engine.seen.waiting == 1)
        until(lambda: endless.engine.seen.waiting == 0)
        assert engine.stats.running == 2
    until(lambda: not engine.has_work)


def test_a_stop_string_ends_the_engines_work_too(endless: Live) -> None:
    body = {"prompt": "x", "seed": 5, "ignore_eos": True}
    whole = httpx.post(endless.url + GENERATE, json={**body, "max_tokens": 60}).json()
    stop = whole["choices"][0]["text"][20:23]
    cut = httpx.post(endless.url + GENERATE, json={**body, "max_tokens": LONG, "stop": stop}).json()
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < 60
    until(lambda: not endless.loaded.engine.has_work)


class BreakingProgram(NullProgram):
    """The model without weights on a device that breaks at a launch."""

    def __init__(self, limits: Limits, *, at: int) -> None:
        super().__init__(limits)
        self._num_left = at

    def launch(self, inputs: StepInputs) -> NullPending:
        self._num_left -= 1
        if self._num_left < 0:
            raise RuntimeError("the device is on fire\nTraceback of its own")
        return super().launch(inputs)


@pytest.fixture
def breaking() -> Iterator[Live]:
    """A server whose engine breaks at the sixth step."""
    limits = null_limits()
    engine = heart(BreakingProgram(limits, at=5), limits).engine()
    with running(NullLoaded(engine=engine)) as server:
        yield server


BODY = {"prompt": "x", "temperature": 0, "max_tokens": 100, "ignore_eos": True}


def test_a_stream_that_breaks_ends_with_an_error_frame_and_done(breaking: Live) -> None:
    answer = httpx.post(breaking.url + GENERATE, json={**BODY, "stream": True})
    *frames, error, done, rest = answer.text.split("\n\n")
    assert answer.status_code == 200
    texts = [json.loads(each.removeprefix("data: "))["choices"][0]["text"] for each in frames]
    tokenizer = byte_tokenizer()
    prompt = tokenizer.encode("x", add_special_tokens=True)
    made = by_hand(prompt, num_tokens=5, vocab_size=VOCAB_SIZE)
    assert tokenizer.decode(made, skip_special_tokens=True).startswith("".join(texts))
    assert "".join(texts)
    assert (done, rest) == ("data: [DONE]", "")
    body = json.loads(error.removeprefix("data: "))["error"]
    assert body["message"] == "The engine failed: RuntimeError: the device is on fire"
    assert set(body) == {"message", "type", "param", "code"}


def test_a_broken_engine_fails_what_waits_and_what_comes_and_health(breaking: Live) -> None:
    assert httpx.get(f"{breaking.url}/health").status_code == 200
    broken = httpx.post(breaking.url + GENERATE, json=BODY)
    later = httpx.post(breaking.url + GENERATE, json=BODY)
    health = httpx.get(f"{breaking.url}/health")
    assert [each.status_code for each in (broken, later, health)] == [500, 503, 503]
    assert "the device is on fire" in health.json()["error"]["message"]
    assert not any("Traceback" in each.text for each in (broken, later, health))
    assert breaking.loaded.engine.stats.held_blocks == 0
