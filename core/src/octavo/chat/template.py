"""Runs a model's chat template, a Jinja program that came with the weights, in a sandbox.

The program is a stranger's: it reaches neither files nor Python's inside, it changes nothing that
it is given, what it may use up has limits, and what it raises is the client's to read ("roles must
alternate"), with the line.

Knows nothing of tokens; the text that it gives is encoded without adding special tokens.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import TemplateSyntaxError

from octavo.chat.budget import Budget, Limits, OverBudget, Seconds
from octavo.chat.messages import ContentForm, Continued, Message, fitted, plain, plain_messages
from octavo.chat.sandbox import BUDGET, FILENAME, Clock, Sandbox
from octavo.errors import ClientError, ModelError

DEFAULT, TOOL_USE = "default", "tool_use"
_RESERVED = ("messages", "add_generation_prompt", "continue_final_message")
_LIMITS = Limits()


class ChatTemplate:
    """A model's chat template, or its several by name, compiled once.

    `special_tokens` are the names that templates know, such as `bos_token`; `clock` tells the
    date to those that print one, `now` the seconds that a rendering takes.

    Raises: ModelError, for a template that is no Jinja.
    Source: transformers, utils/chat_template_utils.py: the same environment, filters and names.
    """

    def __init__(
        self,
        source: str | Mapping[str, str],
        special_tokens: Mapping[str, str],
        *,
        clock: Clock = datetime.now,
        limits: Limits = _LIMITS,
        now: Seconds = time.monotonic,
    ) -> None:
        named = {DEFAULT: source} if isinstance(source, str) else source
        sandbox = Sandbox(clock)
        self._special_tokens = dict(special_tokens)
        self._limits = limits
        self._now = now
        self._programs = {name: _Program(text, name, sandbox) for name, text in named.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the templates that there are."""
        return tuple(self._programs)

    def fitted(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, object]] | None = None,
        name: str | None = None,
    ) -> list[dict[str, object]]:
        """Bring messages as API clients write them into the form that the template takes.

        `tools` and `name` choose the template, as `render` does.

        Raises: ClientError, as `render` does for the name.
        """
        return fitted(messages, self._chosen(name, tools).form)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool | str = False,
        tools: Sequence[Mapping[str, object]] | None = None,
        documents: Sequence[Mapping[str, object]] | None = None,
        name: str | None = None,
        extra: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """Give the text of a chat, ending where the model is to go on.

        `add_generation_prompt` begins the model's next message; `continue_final_message` leaves
        the last one open, at the end of its content or of the field that it names. Among several
        templates `name` chooses one; else it is `tool_use` where there are tools, or `default`.
        `extra` are further names that the client sets for the template, such as
        `enable_thinking`; they go before special tokens.

        Raises: ClientError, with the template's own words and the line, when it refuses the
            messages, cannot make sense of them, or uses up more than it may.
        """
        if taken := [name for name in _RESERVED if name in extra]:
            raise ClientError(
                f"The chat template gets {taken[0]!r} from the request itself; leave it out of "
                "'chat_template_kwargs'.",
                param="chat_template_kwargs",
            )
        if add_generation_prompt and continue_final_message:
            raise ClientError(
                "A final message that is continued and a new one exclude each other: send "
                "'continue_final_message' with 'add_generation_prompt' false.",
                param="continue_final_message",
            )
        program = self._chosen(name, tools)
        chat = plain_messages(messages)
        continued = None
        if continue_final_message:
            field = "content" if continue_final_message is True else continue_final_message
            continued = Continued(chat, field, program.source)
        names = {
            **self._special_tokens,
            "tools": None,
            "documents": None,
            **{key: plain(value) for key, value in extra.items()},
            **({} if tools is None else {"tools": plain(tools)}),
            **({} if documents is None else {"documents": plain(documents)}),
            "messages": chat,
            "add_generation_prompt": add_generation_prompt,
            BUDGET: Budget(self._limits, self._now),
        }
        text = program.run(names)
        return text if continued is None else continued.cut(text)

    def _chosen(self, name: str | None, tools: object) -> _Program:
        if name is None:
            name = TOOL_USE if tools is not None and TOOL_USE in self._programs else DEFAULT
        program = self._programs.get(name)
        if program is None:
            raise ClientError(
                f"The model has no chat template {name!r}; it has {', '.join(self._programs)}. "
                "Name one of them.",
                param="chat_template",
            )
        return program


class _Program:
    """One template, compiled; it knows the lines of its errors."""

    def __init__(self, source: str, name: str, sandbox: Sandbox) -> None:
        self.source = source
        try:
            syntax = sandbox.parse(source)
            self.form = content_form(syntax)
            self._template: Template = sandbox.template_of(syntax)
        except TemplateSyntaxError as error:
            raise _no_jinja(name, f"{error.message} (line {error.lineno})") from error
        except (SyntaxError, RecursionError, MemoryError) as error:  # nested too deep for Python
            raise _no_jinja(name, f"it is nested too deep, {error}") from error

    def run(self, names: Mapping[str, object]) -> str:
        try:
            return self._template.render(names)
        except OverBudget as error:
            raise _refused(f"asks for too much: {error}", error) from error
        except TemplateError as error:
            raise _refused(f"refuses: {error}", error) from error
        except RecursionError as error:
            raise _refused("calls itself too deep", error) from error
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise _refused(
                f"does not understand the messages: {error}",
                error,
                "Their content may have to be plain text.",
            ) from error


def content_form(syntax: nodes.Template) -> ContentForm:
    """Read from a parsed template whether it takes a content as a text or as a list of parts.

    It takes parts if it has a loop over a content, and then texts too if it asks what a content is.
    """
    names = {"content"}
    for each in syntax.find_all(nodes.Assign):
        if isinstance(each.target, nodes.Name) and _is_content(each.node, names):
            names.add(each.target.name)
    takes_parts = any(_is_content(loop.iter, names) for loop in syntax.find_all(nodes.For))
    kinds = ("string", "iterable", "sequence", "mapping")
    asks = any(
        test.name in kinds and _is_content(test.node, names) for test in syntax.find_all(nodes.Test)
    )
    return ContentForm(takes_parts=takes_parts, takes_text=asks or not takes_parts)


def _is_content(node: nodes.Node, names: set[str]) -> bool:
    match node:
        case nodes.Name():
            return node.name in names
        case nodes.Getattr():
            return node.attr == "content"
        case nodes.Getitem():
            return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    return False


def _no_jinja(name: str, why: str) -> ModelError:
    which = "" if name == DEFAULT else f" {name!r}"
    return ModelError(
        f"The model's chat template{which} is no Jinja: {why}. Give the server another template."
    )


def _refused(what: str, error: BaseException, remedy: str = "") -> ClientError:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == FILENAME]
    where = f" (line {lines[-1]})" if lines else ""
    words = f"The model's chat template {what}{where}"
    return ClientError(f"{words}. {remedy}".rstrip() if remedy else words, param="messages")
