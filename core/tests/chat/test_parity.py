"""Templates of the families, on random conversations: text for text what transformers gives.

The templates in `templates/` write each family's format in the constructs that the family's own
template uses; what they are given includes tools, tool calls, reasoning, parts and documents.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import models

from octavo.chat import ChatTemplate
from octavo.errors import ClientError

TEMPLATES = sorted(Path(__file__).parent.glob("templates/*.jinja"))
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
Json = dict[str, object]

TEXTS = st.one_of(
    st.sampled_from(
        ["Hi", " padded \n", "", "<think>\nhm\n</think>\n\nyes", "é🙂 <&>'\"", "a\\b\n"]
    ),
    st.text(max_size=12),
)
NAMES = st.sampled_from(["weather", "get_time", "a_b"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(0, 1), TEXTS)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)
TYPES: st.SearchStrategy[Json] = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "number", "integer", "boolean"])},
        optional={"description": TEXTS, "enum": st.lists(TEXTS, min_size=1, max_size=2)},
    ),
    lambda inner: st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
    max_leaves=3,
)
PROPERTIES = st.dictionaries(NAMES, TYPES, min_size=1, max_size=3)


@st.composite
def tools(draw: st.DrawFn) -> list[Json]:
    drawn: list[Json] = []
    for _ in range(draw(st.integers(1, 2))):
        properties = draw(PROPERTIES)
        parameters = {
            "type": "object",
            "properties": properties,
            "required": draw(st.lists(st.sampled_from(sorted(properties)), unique=True)),
        }
        function = {"name": draw(NAMES), "description": draw(TEXTS), "parameters": parameters}
        drawn.append({"type": "function", "function": function})
    return drawn


@st.composite
def called(draw: st.DrawFn) -> list[Json]:
    calls: list[Json] = [
        {
            "id": draw(st.sampled_from(["abcdefgh1", "call_1"])),
            "type": "function",
            "function": {"name": draw(NAMES), "arguments": draw(ARGUMENTS)},
        }
        for _ in range(draw(st.integers(1, 2)))
    ]
    message: Json = {"role": "assistant", "tool_calls": calls}
    if draw(st.booleans()):
        message["content"] = draw(st.one_of(st.none(), TEXTS))
    answers: list[Json] = [
        {"role": "tool", "content": draw(TEXTS), "tool_call_id": call["id"]} for call in calls
    ]
    return [message, *answers]


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    messages: list[Json] = []
    if draw(st.integers(0, 2)) == 0:
        messages.append({"role": "system", "content": draw(TEXTS)})
    for _ in range(draw(st.integers(1, 3))):
        parts = [{"type": "text", "text": draw(TEXTS)}]
        content = parts if draw(st.integers(0, 7)) == 0 else draw(TEXTS)
        messages.append({"role": "user", "content": content})
        if draw(st.integers(0, 3)) == 0:
            messages += draw(called())
        answer: Json = {"role": "assistant", "content": draw(TEXTS)}
        if draw(st.integers(0, 2)) == 0:
            answer[draw(st.sampled_from(["reasoning_content", "thinking", "reasoning"]))] = draw(
                TEXTS
            )
        messages.append(answer)
    return messages[: len(messages) - draw(st.integers(0, 1))]


SWITCHES = st.fixed_dictionaries(
    {},
    optional={
        "enable_thinking": st.booleans(),
        "thinking": st.booleans(),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "date_string": st.just("26 Jul 2024"),
        "tools_in_user_message": st.booleans(),
        "builtin_tools": st.lists(NAMES, max_size=2),
        "python_tools": st.lists(NAMES, max_size=2),
        "skip_think": st.booleans(),
        "citation_mode": st.just("accurate"),
        "controls": st.just({"length": "short", "citations": True}),
        "bos_token": st.just("<other>"),
    },
)
ENDS = st.sampled_from(
    [(False, False), (True, False), (True, False), (False, True), (False, "reasoning_content")]
)
DOCUMENTS = st.lists(st.fixed_dictionaries({"title": TEXTS, "text": TEXTS}), max_size=2)


class Reference(Protocol):
    def apply_chat_template(self, conversation: object, **given: object) -> str: ...


@functools.cache
def both(path: Path) -> tuple[ChatTemplate, Reference]:
    transformers = pytest.importorskip("transformers")
    source = path.read_text(encoding="utf-8")
    backend = tokenizers.Tokenizer(models.BPE())
    reference: Reference = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, chat_template=source, **SPECIAL
    )
    return ChatTemplate(source, SPECIAL), reference


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    messages=conversations(),
    tool_list=st.one_of(st.none(), tools()),
    documents=st.one_of(st.none(), DOCUMENTS),
    ends=ENDS,
    switches=SWITCHES,
)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_text_is_that_of_transformers(
    path: Path,
    messages: list[Json],
    tool_list: list[Json] | None,
    documents: list[Json] | None,
    ends: tuple[bool, bool | str],
    switches: Mapping[str, object],
) -> None:
    template, reference = both(path)
    begin, go_on = ends
    asked = {"add_generation_prompt": begin, "continue_final_message": go_on, "tools": tool_list}
    try:
        expected = reference.apply_chat_template(
            messages, tokenize=False, documents=documents, **asked, **switches
        )
    except Exception:  # the template's own, or what it did to Python
        expected = None
    try:
        text = template.render(
            messages,
            add_generation_prompt=begin,
            continue_final_message=go_on,
            tools=tool_list,
            documents=documents,
            extra=switches,
        )
    except ClientError:
        text = None
    assert text == expected


def test_each_family_has_conversations_that_it_takes() -> None:
    simple: list[Json] = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "2"}]
    tool: Json = {
        "type": "function",
        "function": {
            "name": "f",
            "description": "d",
            "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
        },
    }
    for path in TEMPLATES:
        text = both(path)[0].render(
            simple, add_generation_prompt=False, tools=[tool], documents=[{"text": "d"}]
        )
        assert "one" in text, path.stem


def test_chosen_template_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    named = {"default": "D{{ messages[0].content }}", "tool_use": "T", "rag": "R{{ documents }}"}
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(models.BPE()),
        chat_template=[{"name": name, "template": text} for name, text in named.items()],
    )
    template = ChatTemplate(named, {})
    assert template.names == tuple(named)
    messages: list[Json] = [{"role": "user", "content": "x"}]
    for name in (None, "rag", "tool_use", "default"):
        for tool_list in (None, [], [{"name": "f"}]):
            expected = reference.apply_chat_template(
                messages, tools=tool_list, chat_template=name, tokenize=False
            )
            assert expected == template.render(
                messages, add_generation_prompt=False, tools=tool_list, name=name
            )
    with pytest.raises(ClientError, match="no chat template 'x'; it has default, tool_use, rag"):
        template.render(messages, add_generation_prompt=False, name="x")
