"""Messages as clients write them, brought into the form that a template takes."""

from __future__ import annotations

import pytest

from octavo.chat import ChatTemplate
from octavo.chat.template import ContentForm
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
        ('{"x": [1]}', '{"x": [1]}'),
        ("", "{}"),
        ("not json", '"not json"'),
        ("[1]", '"[1]"'),
        ({"x": 1}, '{"x": 1}'),
    ],
)
def test_arguments_of_a_call_are_read_as_an_object(written: object, read: str) -> None:
    template = ChatTemplate("{{ messages[0].tool_calls[0].function.arguments | tojson }}", {})
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": written}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert template.render(template.fitted([message]), add_generation_prompt=False) == read
    assert call["function"] == {"name": "f", "arguments": written}


CALLED = "{% for c in messages[0].tool_calls %}{% set f = c.function %}BODY{% endfor %}"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("{{ f.name + f['arguments'] }}", 'f{"x":1}'),  # as DeepSeek R1
        ("{{ f.name ~ f.arguments }}", 'f{"x":1}'),
        ("{{ f.arguments }}", '{"x":1}'),
        ("{{ f | tojson }}", '{"arguments": {"x": 1}, "name": "f"}'),  # as Mistral: the order stays
        ("{% for k, v in f.arguments.items() %}{{ k }}={{ v }}{% endfor %}", "x=1"),
        ("{% for k in f.arguments %}{{ k }}{% endfor %}", "x"),
        (  # as Qwen 3
            "{% if f.arguments is string %}{{ f.arguments }}{% else %}{{ f.arguments | tojson }}"
            "{% endif %}",
            '{"x": 1}',
        ),
        ("{% set a = f.arguments %}{{ a | items | list }}", "[('x', 1)]"),
    ],
)
def test_arguments_stay_a_text_for_a_template_that_joins_them(body: str, read: str) -> None:
    template = ChatTemplate(CALLED.replace("BODY", body), {})
    call = {"type": "function", "function": {"arguments": '{"x":1}', "name": "f"}}
    messages = template.fitted([{"role": "assistant", "tool_calls": [call]}])
    assert template.render(messages, add_generation_prompt=False) == read


@pytest.mark.parametrize(
    ("source", "role"),
    [
        ("{{ messages[0].role }}", "system"),
        ("{% if messages[0].role == 'developer' %}dev{% endif %}", "dev"),
        (
            "{{ messages[0].role in ['system', 'developer'] }} {{ messages[0].role }}",
            "True developer",
        ),
    ],
)
def test_a_developer_is_the_system_to_a_template_that_knows_none(source: str, role: str) -> None:
    template = ChatTemplate(source, {})
    messages = template.fitted([{"role": "developer", "content": "x"}])
    assert template.render(messages, add_generation_prompt=False) == role


@pytest.mark.parametrize(
    ("content", "given", "read"),
    [
        ("string", PARTS, "'ab'"),
        ("openai", PARTS, "[{'type': 'text', 'text': 'a'}, {'type': 'text', 'text': 'b'}]"),
        ("openai", "ab", "[{'type': 'text', 'text': 'ab'}]"),
        (None, [{"type": "refusal", "refusal": "no"}], "'no'"),
    ],
)
def test_the_form_of_contents_may_be_chosen(
    content: ContentForm | None, given: object, read: str
) -> None:
    template = ChatTemplate("{{ [messages[0].content] }}", {}, content=content)
    messages = template.fitted([{"role": "user", "content": given}])
    assert template.render(messages, add_generation_prompt=False) == f"[{read}]"


def test_a_clients_own_template_has_the_models_tokens_and_is_kept() -> None:
    template = ChatTemplate("the model's", {"bos_token": "<s>"})
    own = template.other("{{ bos_token }}{{ messages[0].content }}")
    messages = [{"role": "user", "content": "x"}]
    assert own.render(messages, add_generation_prompt=False) == "<s>x"
    for number in range(7):
        template.other(f"{number}")
    assert template.other("{{ bos_token }}{{ messages[0].content }}") is own
    for number in range(8):
        template.other(f"{number}")
    assert template.other("{{ bos_token }}{{ messages[0].content }}") is not own
    with pytest.raises(ClientError, match=r"^The chat template is no Jinja") as caught:
        template.other("{% if %}")
    assert caught.value.param == "chat_template"


def test_a_template_tells_what_it_reads() -> None:
    template = ChatTemplate(
        {"default": "{% set x = 1 %}{{ documents }}", "tool_use": "{{ tools | length }}"}, {}
    )
    assert template.reads("documents")
    assert not template.reads("x")
    assert not template.reads("tools")
    assert template.reads("tools", tools=[])


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
