"""Chat templates, against transformers on the same texts; and what a template may not do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest
import tokenizers
from tokenizers import models

from octavo.chat import ChatTemplate
from octavo.errors import ClientError, ModelError

SPECIAL = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
    "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = """{% set ns = namespace(found=false) %}
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" + system_message }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role not in ['user', 'assistant', 'tool'] %}{% continue %}{% endif %}
    {%- if message.role == 'user' %}{% set ns.found = true %}{% endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- generation %}{{- message['content'] | trim + '<|eot_id|>' }}{%- endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
{{- ns.found }}
"""
STRICT = """
  {% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
      {{ raise_exception('Conversation roles must alternate user/assistant!') }}
    {% endif %}
    {{ message | tojson }} {{ dict(a=1).items() | list }} {{ "'<&>" | tojson }}
    {% if loop.index > 2 %}{% break %}{% endif %}
  {% endfor %}
"""
MESSAGES: list[Sequence[Mapping[str, object]]] = [
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Grüße 🙂 <b>&amp;</b> 'x'\n"},
        {"role": "assistant", "content": "  Hello.  "},
        {"role": "user", "content": "<|eot_id|>"},
    ],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ],
]
TOOLS = [{"type": "function", "function": {"name": "wetter", "description": "für <Orte>"}}]


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("add_generation_prompt", [False, True])
@pytest.mark.parametrize("messages", MESSAGES)
@pytest.mark.parametrize("source", [SMOLLM2, LLAMA3, STRICT])
def test_text_is_that_of_transformers(
    source: str,
    messages: Sequence[Mapping[str, object]],
    add_generation_prompt: bool,
    tools: Sequence[Mapping[str, object]] | None,
) -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(models.BPE()), chat_template=source, **SPECIAL
    )
    template = ChatTemplate(source, SPECIAL)
    try:
        expected = reference.apply_chat_template(
            messages, tools=tools, add_generation_prompt=add_generation_prompt, tokenize=False
        )
    except Exception as error:  # jinja2's, whose message the template wrote
        with pytest.raises(ClientError, match=str(error)):
            template.render(messages, add_generation_prompt=add_generation_prompt, tools=tools)
    else:
        assert expected == template.render(
            messages, add_generation_prompt=add_generation_prompt, tools=tools
        )


def render(source: str, **extra: object) -> str:
    template = ChatTemplate(source, SPECIAL, clock=lambda: datetime(2024, 7, 26))
    return template.render(MESSAGES[0], add_generation_prompt=False, extra=extra)


def test_date_is_the_clocks() -> None:
    assert render("{{ strftime_now('%d %b %Y') }}") == "26 Jul 2024"


def test_extra_names_reach_the_template() -> None:
    assert render("{{ thinking }} {{ x is none }}", thinking=True, x=None) == "True True"
    assert render("{{ bos_token }}", bos_token="<other>") == "<other>"
    assert render("{{ documents }}", documents=[{"text": "a"}]) == "[{'text': 'a'}]"


@pytest.mark.parametrize("name", ["messages", "add_generation_prompt", "continue_final_message"])
def test_extra_names_do_not_replace_what_the_request_says_elsewhere(name: str) -> None:
    with pytest.raises(ClientError, match=f"'{name}' from the request itself") as caught:
        render("{{ messages }}", **{name: []})
    assert caught.value.param == "chat_template_kwargs"


def test_refusal_of_the_template_is_the_clients_error_with_its_line() -> None:
    with pytest.raises(ClientError, match=r"refuses: no images \(line 2\)") as caught:
        render("{% if true %}\n{{ raise_exception('no images') }}\n{% endif %}")
    assert caught.value.param == "messages"
    with pytest.raises(ClientError, match=r"not understand the messages: .* \(line 3\)\. Their"):
        render("{% macro m() %}\n\n{{ 'a' + 1 }}{% endmacro %}\n{{ m() }}")


def test_what_is_set_in_a_generation_block_stays_there() -> None:
    source = "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}"
    assert render(source) == "21"


def test_values_with_methods_reach_the_template_as_plain_ones() -> None:
    @dataclass
    class Image:
        name: str

        def save(self) -> str:
            return "written"

    class Opaque:
        def save(self) -> str:
            return "written"

    assert render("{{ image.name }}{{ image.save is defined }}", image=Image("x")) == "xFalse"
    assert render("{{ image }}{{ image.save is defined }}", image=Opaque()) == "<Opaque>False"


def test_no_messages_are_refused() -> None:
    with pytest.raises(ClientError, match="needs a message"):
        ChatTemplate("x", {}).render([], add_generation_prompt=True)


@pytest.mark.parametrize("source", ["{{ 'a' + messages[0] }}", "{{ 1 / 0 }}", "{{ x.y }}"])
def test_messages_that_the_template_cannot_handle_are_the_clients_error(source: str) -> None:
    with pytest.raises(ClientError, match="chat template"):
        render(source)


def test_text_that_is_no_template_is_refused_with_its_line() -> None:
    with pytest.raises(ModelError, match=r"no Jinja.*\(line 2\)"):
        ChatTemplate("{{ 1 }}\n{% if %}", {})
    with pytest.raises(ModelError, match=r"template 'rag' is no Jinja: No filter .*\(line 1\)"):
        ChatTemplate({"default": "x", "rag": "{{ 1 | no_such }}"}, {})


@pytest.mark.parametrize(
    "source",
    ["{% for x in y %}" * 60 + "{% endfor %}" * 60, "{{ " + "(" * 5000 + ")" * 5000 + " }}"],
)
def test_text_that_is_nested_too_deep_is_refused(source: str) -> None:
    with pytest.raises(ModelError, match="no Jinja"):
        ChatTemplate(source, {})


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ dict.__subclasses__() }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ ''|attr('__class__')|attr('mro') }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ ''['format']('{0.__class__}', 1).mro() }}",
        "{{ namespace(__class__=1) }}",
        "{{ (namespace(x=1)|attr('_Namespace__attrs')).clear() }}",
        "{{ messages.__setitem__(0, 1) }}",
        "{{ strftime_now.__closure__[0].cell_contents.__self__() }}",
        "{{ self._TemplateReference__context.parent }}",
        "{% import 'os' as os %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_template_cannot_leave_its_sandbox(source: str) -> None:
    with pytest.raises(ClientError):
        render(source)
