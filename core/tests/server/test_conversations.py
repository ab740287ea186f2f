"""What a conversation over HTTP becomes: the text that transformers makes of it, or a refusal."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import openai
import pytest
import tokenizers
from openai import OpenAI
from openai.types.chat import (
    ChatCompletionMessageFunctionToolCallParam,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)
from tokenizers import models

from octavo.chat import ChatTemplate
from octavo.cli.flags import add_chat_flags
from octavo.server.openai.conversation import ConversationBody
from octavo.testing.loaded import NullLoaded, byte_tokenizer, null_limits
from octavo.testing.null import null_engine
from octavo.testing.served import running

Json = dict[str, object]
TEMPLATES = Path(__file__).parents[1] / "chat" / "templates"
TOKENS = 8192
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "description": "Tells the weather",
        "strict": True,
    },
}
USER: Json = {"role": "user", "content": "Will it rain?"}
SPOKEN: list[Json] = [{"role": "system", "content": "Be brief."}, USER]
CALLED: list[Json] = [
    *SPOKEN,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call00001",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Köln", "days": 2}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call00001", "content": '{"rain": true}'},
]
# What templates are given is an object where clients send a text.
READ = json.loads(json.dumps(CALLED))
READ[2]["tool_calls"][0]["function"]["arguments"] = {"city": "Köln", "days": 2}
READ[2]["content"] = ""
IMAGE: Json = {"role": "user", "content": [{"type": "image_url"}]}
NO_TEXT: Json = {"role": "user", "content": [{"type": "text"}]}
NO_FUNCTION: Json = {"role": "assistant", "tool_calls": [{"type": "function"}]}
GRANITE: Json = {"documents": [{"title": "a", "text": "It rains."}]}


def loaded(source: str | Mapping[str, str]) -> NullLoaded:
    return NullLoaded(
        engine=null_engine(null_limits(max_context_tokens=TOKENS, max_requests=2)),
        chat=ChatTemplate(source, SPECIAL),
        max_context_tokens=TOKENS,
    )


class Talk:
    """A server with some templates, a client of it, and what the model was asked."""

    def __init__(self, client: OpenAI) -> None:
        self.client = client

    def text(self, messages: object, **asked: object) -> str:
        """Give the text that the model was to continue."""
        body = {"messages": messages, "return_token_ids": True, "max_tokens": 1, **asked}
        answer = self.client.chat.completions.create(
            model="null", messages=[], temperature=0, extra_body=body
        )
        ids = json.loads(answer.to_json())["prompt_token_ids"]
        return byte_tokenizer().decode(ids, skip_special_tokens=False)

    def refusal(self, **asked: object) -> openai.BadRequestError:
        """Give the error that a client gets."""
        with pytest.raises(openai.BadRequestError) as caught:
            self.text(asked.pop("messages", SPOKEN), **asked)
        return caught.value


class Reference(Protocol):
    def apply_chat_template(self, conversation: object, **given: object) -> str: ...


def reference(name: str) -> Reference:
    transformers = pytest.importorskip("transformers")
    found: Reference = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(models.BPE()),
        chat_template=(TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"),
        **SPECIAL,
    )
    return found


@pytest.fixture(scope="module")
def families() -> Iterator[Talk]:
    """A server that trusts its clients, so that each may bring a family's template."""
    with (
        running(loaded("{{ messages[0].content }}"), trusts_templates=True) as server,
        OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield Talk(client)


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    """A server of a model with templates of its own, and no others."""
    named = {
        "default": "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
        "{% if add_generation_prompt %}>{% endif %}",
        "tool_use": "{{ tools | tojson }}{{ reasoning_effort }}",
        "rag": "{{ documents | length }}",
    }
    with (
        running(loaded(named)) as server,
        OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield Talk(client)


ASKED: list[tuple[str, list[Json], Json]] = [
    ("llama3", SPOKEN, {}),
    ("llama3", CALLED, {"tools": [WEATHER]}),
    ("qwen2_5", CALLED, {"tools": [WEATHER], "tool_choice": "auto"}),
    ("qwen3", CALLED, {"tools": [WEATHER], "chat_template_kwargs": {"enable_thinking": False}}),
    ("mistral3", CALLED, {"tools": [WEATHER], "add_generation_prompt": False}),
    ("mistral7", CALLED, {"tools": [WEATHER]}),
    ("glm4", CALLED, {"tools": [WEATHER], "parallel_tool_calls": True}),
    ("hermes", CALLED, {"tools": [WEATHER]}),
    ("harmony", SPOKEN, {"reasoning_effort": "high", "tools": [WEATHER]}),
    ("granite", SPOKEN, GRANITE),
    ("gemma3", SPOKEN, {}),
    ("phi3", [*SPOKEN, {"role": "assistant", "content": "Ra"}], {"continue_final_message": True}),
]


@pytest.mark.parametrize(("name", "messages", "asked"), ASKED)
def test_the_model_is_given_the_text_that_transformers_makes(
    families: Talk, name: str, messages: list[Json], asked: Json
) -> None:
    switches = asked.get("chat_template_kwargs")
    assert isinstance(switches, dict | None)
    passed = ("tools", "documents", "reasoning_effort", "continue_final_message")
    begins = asked.get("add_generation_prompt", "continue_final_message" not in asked)
    expected = reference(name).apply_chat_template(
        READ if messages is CALLED else messages,
        tokenize=False,
        add_generation_prompt=begins,
        **{key: asked[key] for key in passed if key in asked},
        **(switches or {}),
    )
    source = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    assert families.text(messages, chat_template=source, **asked) == expected


def test_a_call_and_its_answer_go_back_and_forth_with_the_clients_own_types(talk: Talk) -> None:
    tool: ChatCompletionToolParam = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
    call: ChatCompletionMessageFunctionToolCallParam = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": "{}"},
    }
    messages: list[ChatCompletionMessageParam] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Will it rain?"}]},
        {"role": "assistant", "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "yes"},
    ]
    ask = talk.client.chat.completions.create
    whole = ask(
        model="null", messages=messages, tools=[tool], tool_choice="auto", seed=1, max_tokens=40
    )
    chunks = ask(
        model="null",
        messages=messages,
        tools=[tool],
        parallel_tool_calls=True,
        seed=1,
        max_tokens=40,
        stream=True,
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == whole.choices[0].message.content
    assert whole.choices[0].finish_reason in ("length", "stop")
    assert whole.choices[0].message.tool_calls is None


def test_tools_choose_the_models_template_for_them_in_the_clients_own_order(talk: Talk) -> None:
    tools = [WEATHER, {"function": {"name": "b", "x": {"z": 1, "a": 2}}, "type": "function"}]
    assert talk.text(SPOKEN, tools=tools) == json.dumps(tools, ensure_ascii=False)


def test_tools_that_must_not_be_chosen_are_not_told_of(talk: Talk) -> None:
    asked: Json = {"tools": [WEATHER], "parallel_tool_calls": False}
    assert talk.text([USER], tool_choice="none", **asked) == "[user:Will it rain?]>"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "[user:a][assistant:b]>"),
        ({"add_generation_prompt": False}, "[user:a][assistant:b]"),
        ({"continue_final_message": True}, "[user:a][assistant:b"),
        ({"continue_final_message": True, "add_generation_prompt": False}, "[user:a][assistant:b"),
        ({"chat_template": "rag", "documents": [{"text": "x"}]}, "1"),
        ({"documents": [], "tools": [], "tool_choice": "auto"}, "[user:a][assistant:b]>"),
        ({"tools": [WEATHER], "tool_choice": "none"}, "[user:a][assistant:b]>"),
        ({"add_special_tokens": True, "add_generation_prompt": None}, "[user:a][assistant:b]>"),
        ({"chat_template_kwargs": {"unheard_of": 1}}, "[user:a][assistant:b]>"),
    ],
)
def test_the_text_ends_where_the_client_says(talk: Talk, asked: Json, text: str) -> None:
    said = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
    ]
    assert talk.text(said, **asked) == text


def test_an_answer_goes_on_where_the_message_ended(families: Talk) -> None:
    source = "{% for m in messages %}{{ m.content }}{% endfor %}!"
    said = [USER, {"role": "assistant", "content": "Perhaps "}]
    assert families.text(said, chat_template=source, continue_final_message=True) == (
        "Will it rain?Perhaps "
    )


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"tools": [WEATHER], "tool_choice": "required"}, "tool_choice", "Send 'auto'"),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
            },
            "tool_choice",
            "Send 'auto'",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
            "names 'x', but 'tools' has weather",
        ),
        ({"tool_choice": "auto"}, "tool_choice", "there are none"),
        ({"tools": [WEATHER], "tool_choice": "often"}, "tool_choice", "none of the types"),
        ({"tools": [WEATHER], "parallel_tool_calls": False}, "parallel_tool_calls", "Send 'auto'"),
        ({"tools": [{"type": "custom"}]}, "tools.0.type", "function"),
        ({"tools": [{"type": "function"}]}, "tools.0.function", "missing"),
        (
            {"tools": [{"type": "function", "function": {"name": ""}}]},
            "tools.0.function.name",
            "at least 1",
        ),
        ({"tools": [WEATHER], "chat_template": "rag"}, "tools", "does not read 'tools'"),
        ({"documents": [{"text": "x"}]}, "documents", "does not read 'documents'"),
        ({"documents": ["x"]}, "documents.0", "dictionary"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "does not read"),
        ({"chat_template": "{{ 1 }}"}, "chat_template", "--trust-request-chat-template"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs", "from the request"),
        (
            {"continue_final_message": True, "add_generation_prompt": True},
            "continue_final_message",
            "exclude each other",
        ),
        ({"messages": [IMAGE]}, "messages.0.content.0.type", "none of the types"),
        ({"messages": [NO_TEXT]}, "messages.0.content.0.text", "missing"),
        ({"messages": [NO_FUNCTION]}, "messages.0.tool_calls.0.function", "missing"),
        ({"echo": True}, "echo", "not supported"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    talk: Talk, asked: Json, param: str, words: str
) -> None:
    error = talk.refusal(**asked)
    assert error.param == param
    assert words in error.message


def test_the_page_on_conversations_names_every_parameter_and_flag() -> None:
    page = (Path(__file__).parents[3] / "docs" / "conversations.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    known = {"add_special_tokens", *ConversationBody.model_fields} - {"messages"}
    assert told == known
    parser = argparse.ArgumentParser()
    add_chat_flags(parser)
    flags = set(re.findall(r"--[a-z-]+", parser.format_usage()))
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)) == {
        *flags,
        "--trust-request-chat-template",
    }


def test_a_clients_template_is_refused_in_its_own_name(families: Talk) -> None:
    error = families.refusal(chat_template="{% if %}")
    assert (error.param, "no Jinja" in error.message) == ("chat_template", True)
    error = families.refusal(chat_template="{{ raise_exception('not me') }}")
    assert "not me" in error.message
