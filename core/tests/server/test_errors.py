"""Every failure has OpenAI's shape, and says what and where."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import pytest
from fastapi.testclient import TestClient

from octavo.chat.template import ChatTemplate
from octavo.server.app import create_app
from octavo.server.served import Served
from octavo.testing.loaded import NullLoaded

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
SAID = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(create_app(Served.over(NullLoaded()))) as client:
        yield client


class Answer(Protocol):
    """What the tests read of an answer."""

    status_code: int

    @property
    def text(self) -> str: ...


def refused(answer: Answer, status: int) -> dict[str, str | None]:
    assert answer.status_code == status, answer.text
    body: dict[str, dict[str, str | None]] = json.loads(answer.text)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [[1], []]}, "prompt"),
        ({"prompt": ["a", [1]]}, "prompt.0"),
        ({"prompt": [True]}, "prompt.0"),
        ({"prompt": [260]}, "prompt"),
        ({"prompt": "x" * 512}, "prompt"),
        ({"prompt": ["x"] * 1025}, "prompt"),
        ({"prompt": "x", "model": 3}, "model"),
        ({"prompt": "x", "temperature": 2.5}, "temperature"),
        ({"prompt": "x", "temperature": "1"}, "temperature"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "x", "seed": 2**63}, "seed"),
        ({"prompt": "x", "stop": ["a"] * 5}, "stop"),
        ({"prompt": "x", "stop": ["a", ""]}, "stop.1"),
        ({"prompt": "x", "stop_token_ids": [-1]}, "stop_token_ids.0"),
        ({"prompt": "x", "stop_token_ids": [1] * 65}, "stop_token_ids"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "x", "stream": True, "stream_options": {"y": 1}}, "stream_options.y"),
        ({"prompt": "x", "frobnicate": None}, "frobnicate"),
        ({"prompt": "x", "messages": SAID}, "messages"),
    ],
)
def test_a_completion_that_cannot_be_is_refused_by_its_parameter(
    http: TestClient, body: dict[str, object], param: str
) -> None:
    error = refused(http.post(COMPLETIONS, json=body), 400)
    assert error["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content.0.type",
        ),
        ({"messages": SAID, "prompt": "x"}, "prompt"),
        ({"messages": SAID, "max_completion_tokens": -1}, "max_completion_tokens"),
    ],
)
def test_a_chat_that_cannot_be_is_refused_by_its_parameter(
    http: TestClient, body: dict[str, object], param: str
) -> None:
    error = refused(http.post(CHAT, json=body), 400)
    assert error["param"] == param


@pytest.mark.parametrize(
    "wish",
    [
        {"use_beam_search": True},
        {"length_penalty": 2},
        {"suffix": "and then"},
        {"truncate_prompt_tokens": 5},
        {"kv_transfer_params": {}},
        {"top_k": 5},
        {"logprobs": 0},
        {"best_of": 3},
        {"response_format": {"type": "json_object"}},
        {"store": True},
    ],
)
def test_a_known_parameter_that_would_matter_is_refused_by_name(
    http: TestClient, wish: dict[str, object]
) -> None:
    error = refused(http.post(COMPLETIONS, json={"prompt": "x", **wish}), 400)
    assert (error["param"], error["code"]) == (next(iter(wish)), "unsupported_parameter")


@pytest.mark.parametrize(
    "wish",
    [
        {"n": 1, "best_of": 1, "top_p": 1, "top_k": -1, "min_p": 0.0},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1.0},
        {"logprobs": None, "stop": None, "suffix": None, "logit_bias": {}, "seed": None},
        {"user": "me", "metadata": {"a": "b"}, "safety_identifier": "s", "service_tier": "auto"},
        {"stream_options": None, "max_tokens": None, "temperature": None, "stop_token_ids": None},
    ],
)
def test_what_changes_nothing_is_accepted(http: TestClient, wish: dict[str, object]) -> None:
    answer = http.post(COMPLETIONS, json={"prompt": "x", "ignore_eos": True, **wish})
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 16


def test_a_chat_without_tools_may_say_so(http: TestClient) -> None:
    body = {"messages": SAID, "tools": [], "tool_choice": "none", "parallel_tool_calls": True}
    answer = http.post(CHAT, json={**body, "max_completion_tokens": 3, "logprobs": False})
    assert answer.json()["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    "content", [b"", b"{bad", b"[1]", b"\xff\xfe", b'{"prompt": "\xff"}', b"1"]
)
def test_a_body_that_is_no_json_object_is_refused(http: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(http.post(COMPLETIONS, content=content, headers=headers), 400)


def test_a_json_body_without_its_content_type_says_what_is_missing(http: TestClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.post(COMPLETIONS, content=b'{"prompt": "x"}', headers=headers)
    assert "Content-Type: application/json" in str(refused(answer, 400)["message"])


def test_unknown_routes_methods_and_models_have_the_same_shape(http: TestClient) -> None:
    refused(http.get("/v1/nothing"), 404)
    refused(http.get(COMPLETIONS), 405)
    refused(http.get("/v1/models/other"), 404)
    refused(http.post(CHAT, json={"model": "other", "messages": SAID}), 404)


class BrokenTemplate(ChatTemplate):
    """A chat template with a bug of ours."""

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool | str = False,
        tools: Sequence[Mapping[str, object]] | None = None,
        documents: Sequence[Mapping[str, object]] | None = None,
        name: str | None = None,
        extra: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        raise RuntimeError("secret of the inside")


def test_a_bug_of_ours_tells_the_client_nothing_of_the_inside() -> None:
    app = create_app(Served.over(NullLoaded(chat=BrokenTemplate("", {}))))
    with TestClient(app, raise_server_exceptions=False) as http:
        answer = http.post(CHAT, json={"messages": SAID})
    assert "secret" not in str(refused(answer, 500))


def test_the_own_routes_answer(http: TestClient) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/").json()["model"] == "null"
    assert http.get("/version").status_code == 200
    assert http.get("/openapi.json").status_code == 200
    (card,) = http.get("/v1/models").json()["data"]
    assert (card["id"], card["max_model_len"]) == ("null", 512)
