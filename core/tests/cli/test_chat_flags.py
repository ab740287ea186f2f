"""Flags of chat templates: what is given becomes settings, and those a model's template."""

from __future__ import annotations

import argparse
from pathlib import Path

import httpx
import pytest

from octavo.cli.flags import add_chat_flags, add_model_flags, chat_settings_of
from octavo.config import Settings
from octavo.errors import ModelError, OperatorError
from octavo.loading import chat_of
from octavo.testing.loaded import byte_backend, byte_tokenizer
from octavo.testing.spawned import spawned
from octavo.tokenizer import Tokenizer
from octavo.wishes import settings_of as wished

NAMED = {"default": "of {{ bos_token }}", "rag": "{{ documents }}"}
SAID = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]


def parsed(*argv: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    add_chat_flags(parser)
    return chat_settings_of(parser.parse_args(["model", *argv]))


def written(settings: Settings, templates: dict[str, str]) -> str | None:
    tokenizer = Tokenizer(
        byte_backend(), special_tokens={"bos_token": "<s>"}, chat_templates=templates
    )
    chat = chat_of(tokenizer, settings)
    if chat is None:
        return None
    return chat.render(chat.fitted(SAID), add_generation_prompt=False)


def test_flags_and_wishes_make_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("é {{ bos_token }}", encoding="utf-8")
    flags = parsed("--chat-template", str(path), "--chat-template-content-format", "openai")
    assert flags.chat_template == "é {{ bos_token }}"
    assert flags == wished(
        "model", chat_template="é {{ bos_token }}", chat_template_content_format="openai"
    )
    assert parsed("--chat-template", "{{ 1 }}").chat_template == "{{ 1 }}"
    assert parsed("--chat-template", "rag").chat_template == "rag"
    assert parsed() == wished("model")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no/such/file", "there is no file 'no/such/file'"),
        ("missing.jinja", "there is no file 'missing.jinja'"),
        ("{% if %}", "no Jinja"),
    ],
)
def test_what_is_neither_a_file_nor_jinja_is_refused_at_once(
    given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed("--chat-template", given)
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.jinja"
    path.write_bytes(b"\xff{{ 1 }}")
    with pytest.raises(SystemExit):
        parsed("--chat-template", str(path))
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "templates", "text"),
    [
        (None, NAMED, "of <s>"),
        (None, {}, None),
        ("rag", NAMED, "None"),
        ("{{ bos_token }}!", NAMED, "<s>!"),
        ("{{ bos_token }}!", {}, "<s>!"),
    ],
)
def test_the_template_is_the_one_that_was_asked_for(
    asked: str | None, templates: dict[str, str], text: str | None
) -> None:
    assert written(wished("model", chat_template=asked), templates) == text


def test_the_form_of_contents_is_the_one_that_was_asked_for() -> None:
    template = "{{ messages[0].content }}"
    assert written(parsed("--chat-template", template), {}) == "x"
    openai = parsed("--chat-template", template, "--chat-template-content-format", "openai")
    assert written(openai, {}) == "[{'type': 'text', 'text': 'x'}]"


@pytest.mark.parametrize(
    ("asked", "templates", "words"),
    [
        ("other", NAMED, "The model has default, rag, but none that is named 'other'"),
        ("other", {}, "The model has no chat template, but none"),
        ("{% if %}", NAMED, "no Jinja"),
    ],
)
def test_a_template_that_cannot_be_is_refused(
    asked: str, templates: dict[str, str], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        written(wished("model", chat_template=asked), templates)


def test_what_the_template_is_told_has_a_default_and_requests_go_before_it() -> None:
    flags = parsed("--default-chat-template-kwargs", '{"thinking": false, "n": 1}')
    assert flags == wished("model", default_chat_template_kwargs={"thinking": False, "n": 1})
    tokenizer = Tokenizer(byte_backend(), chat_templates={"default": "{{ thinking }}{{ n }}"})
    chat = chat_of(tokenizer, flags)
    assert chat is not None
    assert chat.render(SAID, add_generation_prompt=False) == "False1"
    assert chat.render(SAID, add_generation_prompt=False, extra={"n": 2}) == "False2"
    other = chat.other("{{ n }}{{ thinking }}")
    assert other.render(SAID, add_generation_prompt=False) == "1False"


@pytest.mark.parametrize("given", ["{", "[1]", "thinking"])
def test_defaults_that_are_no_json_object_are_refused(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed("--default-chat-template-kwargs", given)
    assert f"'{given}' is no JSON" in capsys.readouterr().err


def test_every_process_that_answers_writes_conversations_as_the_flags_say(tmp_path: Path) -> None:
    settings = {
        "api_processes": 2,
        "chat_template": "{{ messages[0].content }}{{ sign }}",
        "chat_template_content_format": "openai",
        "chat_template_kwargs": {"sign": "!"},
        "trust_request_chat_template": True,
    }
    with spawned(tmp_path / "model", settings=settings) as server:
        body = {"messages": SAID, "max_tokens": 1, "return_token_ids": True}
        own = {**body, "chat_template": "{{ messages | length }}"}
        for asked, text in [(body, "[{'type': 'text', 'text': 'x'}]!"), (own, "1")] * 6:
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=60)
            ids = answer.json()["prompt_token_ids"]
            assert byte_tokenizer().decode(ids, skip_special_tokens=False) == text


def test_a_form_of_contents_that_is_none_is_refused() -> None:
    with pytest.raises(OperatorError, match="--chat-template-content-format is 'parts'"):
        wished("model", chat_template_content_format="parts")  # type: ignore[arg-type]
