"""Which tokens a prompt or a conversation has, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from octavo.server.app import create_app
from octavo.server.served import Served
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded, byte_backend, byte_tokenizer
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.special import surround

TALK = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(create_app(Served.over(NullLoaded()))) as client:
        yield client


@pytest.mark.parametrize("text", ["", "Hi", "<|im_start|>é🙂\x00"])
def test_a_text_becomes_its_tokens_and_comes_back(http: TestClient, text: str) -> None:
    told = http.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    ids = byte_tokenizer().encode(text, add_special_tokens=True)
    assert told["tokens"] == ids
    assert (told["count"], told["max_model_len"]) == (len(ids), 512)
    assert told["token_strs"] == [byte_tokenizer().token_text(each) for each in ids]
    back = http.post("/detokenize", json={"model": "null", "tokens": ids}).json()
    assert back == {"prompt": text}


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
        ({"add_generation_prompt": False}, "<|im_start|>user\nhi<|im_end|>\n"),
        ({"continue_final_message": True}, "<|im_start|>user\nhi"),
    ],
)
def test_a_conversation_has_the_tokens_that_the_model_would_be_asked(
    http: TestClient, asked: dict[str, bool], text: str
) -> None:
    told = http.post("/tokenize", json={**TALK, **asked}).json()
    assert byte_tokenizer().decode(told["tokens"], skip_special_tokens=False) == text
    assert told["token_strs"] is None


@pytest.mark.parametrize(
    ("asked", "begins"),
    [
        ({"prompt": "x"}, True),
        ({"prompt": "x", "add_special_tokens": False}, False),
        (TALK, False),
        ({**TALK, "add_special_tokens": True}, True),
    ],
)
def test_special_tokens_are_added_where_a_template_does_not_write_them(
    asked: dict[str, object], begins: bool
) -> None:
    backend = byte_backend()
    surround(backend, first="<s>", last=None)
    with TestClient(create_app(Served.over(NullLoaded(tokenizer=Tokenizer(backend))))) as http:
        told = http.post("/tokenize", json=asked).json()["tokens"]
        assert (told[0] == backend.token_to_id("<s>")) == begins
        if "messages" in asked:
            body = {**asked, "return_token_ids": True, "max_tokens": 1}
            answer = http.post("/v1/chat/completions", json=body).json()
            assert answer["prompt_token_ids"] == told


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": [1]}, 400, "prompt"),
        ("/tokenize", {"prompt": "x", "model": "other"}, 404, "model"),
        ("/tokenize", {"messages": []}, 400, "messages"),
        ("/tokenize", {**TALK, "prompt": "x"}, 400, "prompt"),
        ("/tokenize", {**TALK, "frobnicate": 1}, 400, "frobnicate"),
        ("/tokenize", {**TALK, "documents": [{"text": "x"}]}, 400, "documents"),
        ("/detokenize", {"tokens": [VOCAB_SIZE]}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens.0"),
        ("/detokenize", {"tokens": [], "model": "other"}, 404, "model"),
    ],
)
def test_what_cannot_be_is_refused_by_its_parameter(
    http: TestClient, path: str, body: dict[str, object], status: int, param: str
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
