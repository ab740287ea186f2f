"""Messages as clients write them, brought into the form that a template takes."""

from __future__ import annotations

import pytest

from octavo.chat import ChatTemplate
from octavo.errors import ClientError

PARTS = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
TEXT_ONLY = "{% for m in messages %}{{ m.content }}{% endfor %}"
PARTS_ONLY = (
    "{% for m in messages %}{% for p in m['content'] %}[{{ p.text }}]{% endfor %}{% endfor %}"
)
BOTH = (
    "{% for m in messages %}{% set body = m['content'] %}{% if body is string %}{{ body }}"
    "{% else %}{% for p in body %}[{{ p.text }}]{% endfor %}{% endif %}{% endfor %}"
)
MACRO = (
    "{% macro show(content) %}{% if content is string %}{{ content }}{% else %}"
    "{% for p in content %}[{{ p.text }}]{% endfor %}{% endif %}{% endmacro %}"
    "{% for m in messages %}{{ show(m.content) }}{% endfor %}"
)


def said(source: str, content: object) -> str:
    template = ChatTemplate(source, {})
    messages = template.fitted([{"role": "user", "content": content}])
    return template.render(messages, add_generation_prompt=False)


@pytest.mark.parametrize(
    ("source", "of_parts", "of_text"),
    [
        (TEXT_ONLY, "ab", "ab"),
        (PARTS_ONLY, "[a][b]", "[ab]"),
        (BOTH, "[a][b]", "ab"),
        (MACRO, "[a][b]", "ab"),
    ],
)
def test_content_has_the_form_that_the_template_takes(
    source: str, of_parts: str, of_text: str
) -> None:
    assert said(source, PARTS) == of_parts
    assert said(source, "ab") == of_text


def test_parts_that_are_no_text_stay_as_they_are() -> None:
    assert said("{{ messages[0].content | tojson }}", [PARTS[0], IMAGE]) == (
        '[{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]'
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"x": [1]}', "{'x': [1]}"),
        ("", "{}"),
        ("not json", "not json"),
        ("[1]", "[1]"),
        ({"x": 1}, "{'x': 1}"),
    ],
)
def test_arguments_of_a_call_are_read_as_an_object(written: object, read: str) -> None:
    template = ChatTemplate("{{ messages[0].tool_calls[0].function.arguments }}", {})
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": written}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert template.render(template.fitted([message]), add_generation_prompt=False) == read
    assert call["function"] == {"name": "f", "arguments": written}


def test_continued_message_is_left_open_and_its_own_spaces_stay() -> None:
    template = ChatTemplate("{% for m in messages %}<{{ m.content }}>{% endfor %}!", {})
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b "}]
    kept = template.render(messages, add_generation_prompt=False, continue_final_message=True)
    assert kept == "<a><b "
    trimming = ChatTemplate("{% for m in messages %}<{{ m.content | trim }}>{% endfor %}!", {})
    kept = trimming.render(messages, add_generation_prompt=False, continue_final_message=True)
    assert kept == "<a><b"
    assert messages[-1]["content"] == "b "


@pytest.mark.parametrize(
    ("source", "last", "why"),
    [
        ("{{ messages[0].content | upper }}", {"content": "a"}, "does not write it as it is"),
        ("{{ messages[0].role }}", {"content": "a"}, "does not read it"),
        ("{{ messages[0].content }}", {}, "is not there"),
        ("{{ messages[0].content }}", {"content": [IMAGE]}, "it has no text"),
        ("{{ messages[0].content }}", {"content": 3}, "is no text"),
    ],
)
def test_message_that_cannot_be_continued_is_refused(
    source: str, last: dict[str, object], why: str
) -> None:
    with pytest.raises(ClientError, match=why) as caught:
        ChatTemplate(source, {}).render(
            [{"role": "assistant", **last}],
            add_generation_prompt=False,
            continue_final_message=True,
        )
    assert caught.value.param == "continue_final_message"


def test_message_is_either_continued_or_followed_by_a_new_one() -> None:
    with pytest.raises(ClientError, match="exclude each other"):
        ChatTemplate("x", {}).render(
            [{"role": "user"}], add_generation_prompt=True, continue_final_message=True
        )
