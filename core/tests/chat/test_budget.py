"""What a hostile template may use up. Each source here would hang or fill the memory if it ran."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest

from octavo.chat import ChatTemplate
from octavo.chat.budget import Limits
from octavo.errors import ClientError

USER = {"role": "user", "content": "Hi"}
SMALL = Limits(max_steps=20_000, max_chars=100_000, max_total_chars=1_000_000)


def render(source: str, limits: Limits = SMALL) -> str:
    return ChatTemplate(source, {}, limits=limits).render([USER], add_generation_prompt=False)


LOOP = "{% for i in range(100000) %}"


def looped(body: str) -> str:
    return LOOP + body + "{% endfor %}"


def doubled(start: str, step: str, then: str = "") -> str:
    return "{% set x = " + start + " %}" + step * 60 + then


LONG = {
    "loops": LOOP * 4 + "{% endfor %}" * 4,
    "loops that print nothing": LOOP * 2 + "{% set x = i %}" + "{% endfor %}" * 2,
    "loops that go on": LOOP * 2 + "{% continue %}" + "{% endfor %}" * 2,
    "recursive loop": "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "macro that calls itself": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "filters": "{{ range(100000) | map('upper') | select('eq', 1) | list }}",
    "tests": "{{ range(100000) | select('in', range(100000) | list) | list }}",
    "plain text in loops": looped("x" * 1000),
    "plain text in macros": "{% macro m() %}"
    + "x" * 1000
    + "{% endmacro %}"
    + looped("{% set y = m() %}"),
}
LARGE = {
    "times": "{{ 'a' * 10**9 }}",
    "times, turned": "{% set n = 1000000000 %}{% set x = n * 'a' %}",
    "times, a list": "{% set x = [1] * 10**9 %}",
    "power": "{{ 10 ** (10 ** 8) }}",
    "squares": "{% set n = namespace(x=10) %}" + looped("{% set n.x = n.x * n.x %}"),
    "format by %": "{{ '%1000000000d' % 1 }}",
    "format by %, given width": "{{ '%*d' % (1000000000, 1) }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "format method": "{{ '{:1000000000}'.format(1) }}",
    "format method, given width": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format_map": "{{ '{x:1000000000}'.format_map({'x': 1}) }}",
    "format, often": "{{ ('{0}' * 900).format('x' * 90000) }}",
    "center": "{{ 'a'.center(1000000000) }}",
    "ljust": "{{ 'a'.ljust(1000000000) }}",
    "zfill": "{{ 'a'.zfill(1000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(tabsize=1000000000) }}",
    "to_bytes": "{{ (1).to_bytes(1000000000, 'big') }}",
    "translate": "{{ 'aa'.translate({97: 'x' * 90000}) }}",
    "replace method": "{{ ('a' * 90000).replace('a', 'b' * 90000) }}",
    "replace filter": "{{ ('a' * 900) | replace('', 'b' * 900) }}",
    "join method": "{{ ('b' * 90000).join(range(100000) | map('string') | list) }}",
    "join method, uncounted": "{{ ('b' * 90000).join(range(10000) | map('string')) }}",
    "join filter": "{{ range(100000) | join('b' * 90000) }}",
    "join filter of what is made": "{{ range(10000) | map('string') | join('b' * 900) }}",
    "indent": "{{ 'a' | indent(width=1000000000, first=true) }}",
    "indent, text": "{{ ('a\n' * 9000) | indent('b' * 9000) }}",
    "batch": "{{ messages | batch(1000000000, 0) | list }}",
    "slice": "{{ messages | slice(1000000000) | list }}",
    "sum": "{{ [[1]] | sum(start=[]) }}",
    "tojson indent": "{{ [[[1]]] | tojson(indent=1000000000) }}",
    "tojson separators": "{{ ([1] * 900) | tojson(separators=('b' * 900, '')) }}",
    "doubled by ~": doubled("'ab'", "{% set x = x ~ x %}"),
    "doubled by +": doubled("'ab'", "{% set x = x + x %}"),
    "doubled by %": doubled("'ab'", "{% set x = '%s%s' % (x, x) %}"),
    "doubled by blocks": doubled("'ab'", "{% set x %}{{ x }}{{ x }}{% endset %}"),
    "doubled by macros": "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}"
    + doubled("'ab'", "{% set x = m(x) %}"),
    "doubled by filters": doubled("'ab'", "{% set x = x | replace('a', 'aa') %}"),
    "doubled lists": doubled("[1]", "{% set x = [x, x] %}", "{{ x | tojson }}"),
    "doubled keys": doubled("(1, messages)", "{% set x = (x, x) %}", "{{ {x: 1} }}"),
    "doubled mappings": doubled("{'a': 1}", "{% set x = dict(a=x, b=x) %}", "{{ x == x.a }}"),
    "doubled by varargs": "{% set n = namespace(x=(1, 1)) %}"
    "{% macro m() %}{% set n.x = varargs %}{% endmacro %}" + "{{ m(n.x, n.x) }}" * 60,
    "doubled by batch": doubled("messages", "{% set x = x | batch(3, x) | list %}"),
    "doubled in namespaces": "{% set n = namespace(x=[1]) %}"
    + looped("{% set n.x = [n.x, n.x] %}"),
    "many texts": "{% set n = namespace(x=[]) %}" + looped("{% set n.x = n.x + ['a' * 90000] %}"),
}


@pytest.mark.parametrize("source", LONG.values(), ids=LONG)
def test_template_that_would_run_on_is_stopped(source: str) -> None:
    with pytest.raises(ClientError, match=r"steps|characters|calls itself too deep"):
        render(source)


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_template_that_would_fill_the_memory_is_stopped_before_it_does(source: str) -> None:
    template = ChatTemplate(source, {}, limits=SMALL)
    tracemalloc.start()
    try:
        with pytest.raises(ClientError, match="asks for too much: "):
            template.render([USER], add_generation_prompt=False)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_refusal_says_what_was_too_much_and_where() -> None:
    with pytest.raises(ClientError, match=r"too much: more than 20000 steps \(line 2\)"):
        render("\n" + LONG["loops that print nothing"])


def test_time_is_a_limit_too() -> None:
    times = itertools.count()
    template = ChatTemplate(
        "{% for i in range(10) %}{{ i }}{% endfor %}",
        {},
        limits=Limits(max_s=5),
        now=lambda: float(next(times)),
    )
    with pytest.raises(ClientError, match="too much: more than 5 seconds"):
        template.render([USER], add_generation_prompt=False)


def test_each_rendering_has_the_whole_budget() -> None:
    template = ChatTemplate(
        "{% for i in range(900) %}x{% endfor %}", {}, limits=Limits(max_steps=1000)
    )
    for _ in range(3):
        assert template.render([USER], add_generation_prompt=False) == "x" * 900


def test_long_conversation_is_within_the_limits() -> None:
    source = (
        "{% for m in messages %}{{ '<' + m.role + '>' + m['content'] | trim }}"
        "{{ messages[loop.index0 - 1].role ~ {'a': m} | tojson }}{% endfor %}"
    )
    template = ChatTemplate(source, {})
    messages = [{"role": "user", "content": "word " * 40}] * 5000
    assert len(template.render(messages, add_generation_prompt=False)) > 2_000_000
