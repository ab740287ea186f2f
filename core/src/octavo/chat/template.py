"""Runs a model's chat template, a Jinja program that came with the weights, in a sandbox.

The program is a stranger's: it reaches neither files nor Python's inside, it changes nothing that
it is given, and what it raises is the client's to read ("roles must alternate").

Knows nothing of tokens; the text that it gives is encoded without adding special tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from jinja2 import Environment, TemplateError, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from octavo.errors import ClientError, ModelError

Clock = Callable[[], datetime]


class ChatTemplate:
    """A model's chat template, compiled once.

    `special_tokens` are the names that templates know, such as `bos_token`; `clock` tells the
    date to those that print one.

    Raises: ModelError, for a template that is no Jinja.
    Source: transformers, utils/chat_template_utils.py: the same environment, filters and names.
    """

    def __init__(
        self, source: str, special_tokens: Mapping[str, str], *, clock: Clock = datetime.now
    ) -> None:
        self._special_tokens = dict(special_tokens)
        try:
            self._template = _environment(clock).from_string(source)
        except TemplateSyntaxError as error:
            raise ModelError(
                f"The model's chat template is no Jinja: {error.message} (line {error.lineno}). "
                "Give the server another template."
            ) from error

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, object]] | None = None,
        extra: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """Give the text of a chat, ending where the model is to go on.

        `extra` are further names that the client sets for the template; the messages, tools and
        the generation prompt are not among them.

        Raises: ClientError, with the template's own words, when it refuses the messages or cannot
            make sense of them.
        """
        names: dict[str, object] = {
            **self._special_tokens,
            **extra,
            "messages": messages,
            "tools": tools,
            "documents": extra.get("documents"),
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._template.render(names)
        except TemplateError as error:
            raise ClientError(
                f"The model's chat template refuses: {error}", param="messages"
            ) from error
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            raise ClientError(
                f"The model's chat template does not understand the messages: {error}. "
                "Their content may have to be plain text.",
                param="messages",
            ) from error


def _environment(clock: Clock) -> ImmutableSandboxedEnvironment:
    def strftime_now(form: str) -> str:
        return clock().strftime(form)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = strftime_now
    environment.globals["dict"] = _make_dict
    environment.globals["namespace"] = _ClosedNamespace
    return environment


class _Generation(Extension):
    """Lets `{% generation %}`, which marks a model's own words for training, be as if not there."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _ClosedNamespace(Namespace):
    """A namespace whose names cannot reach into Python's inside."""

    def __setitem__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace may not set {name!r}")
        super().__setitem__(name, value)


def _make_dict(*pairs: Mapping[str, object], **entries: object) -> dict[str, object]:
    """Stand for `dict`: a call makes one, and there is no class to reach."""
    return dict(*pairs, **entries)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as it is, where Jinja's own filter would escape it for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise TemplateError(message)
