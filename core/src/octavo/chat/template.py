"""Runs a model's chat template, a Jinja program that came with the weights, in a sandbox.

The program is a stranger's: it reaches neither files nor Python's inside, it changes nothing that
it is given, what it may use up has limits, and what it raises is the client's to read ("roles must
alternate"), with the line.

Knows nothing of tokens; the text that it gives is encoded without adding special tokens.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import TemplateSyntaxError

from octavo.chat.budget import Budget, Limits, OverBudget, Seconds
from octavo.chat.messages import Continued, Message, MessageForm, fitted, plain, plain_messages
from octavo.chat.sandbox import BUDGET, FILENAME, Clock, Sandbox
from octavo.errors import ClientError, ModelError

DEFAULT, TOOL_USE = "default", "tool_use"
_RESERVED = ("messages", "add_generation_prompt", "continue_final_message")
_LIMITS = Limits()
_KEPT = 8
ContentForm = Literal["string", "openai"]


class ChatTemplate:
    """A model's chat template, or its several by name, compiled once.

    `special_tokens` are the names that templates know, such as `bos_token`, and `defaults` further
    ones where a client sets none, such as `enable_thinking`; `content` says in what form they get a
    content, as texts or as lists of parts, where they are not to be read for that; `clock` tells
    the date to those that print one, `now` the seconds that a rendering takes.

    Raises: ModelError, for a template that is no Jinja.
    Source: transformers, utils/chat_template_utils.py: the same environment, filters and names.
    """

    def __init__(
        self,
        source: str | Mapping[str, str],
        special_tokens: Mapping[str, str],
        *,
        defaults: Mapping[str, object] = MappingProxyType({}),
        content: ContentForm | None = None,
        clock: Clock = datetime.now,
        limits: Limits = _LIMITS,
        now: Seconds = time.monotonic,
    ) -> None:
        named = {DEFAULT: source} if isinstance(source, str) else source
        sandbox = Sandbox(clock)
        self._special_tokens = dict(special_tokens)
        self._defaults = {key: plain(value) for key, value in defaults.items()}
        _check_free(self._defaults)
        self._content = content
        self._clock = clock
        self._limits = limits
        self._now = now
        self._programs = {name: _Program(text, name, sandbox) for name, text in named.items()}
        self._others: dict[str, ChatTemplate] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the templates that there are."""
        return tuple(self._programs)

    def other(self, source: str) -> ChatTemplate:
        """Give a client's own template in place of these, with the same tokens and limits.

        Effects: the last few are kept, so that a conversation compiles its template once.
        Raises: ClientError, for a text that is no Jinja.
        """
        found = self._others.get(source)
        if found is None:
            try:
                found = ChatTemplate(
                    source,
                    self._special_tokens,
                    defaults=self._defaults,
                    content=self._content,
                    clock=self._clock,
                    limits=self._limits,
                    now=self._now,
                )
            except ModelError as error:
                words = str(error).replace("The model's chat template", "The chat template")
                raise ClientError(words, param="chat_template") from error
            kept = list(self._others.items())[1 - _KEPT :]
            self._others = {**dict(kept), source: found}
        return found

    def reads(self, variable: str, *, tools: object = None, name: str | None = None) -> bool:
        """Tell whether the template that `tools` and `name` choose looks at a variable."""
        return variable in self._chosen(name, tools).variables

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
        form = self._chosen(name, tools).form
        if self._content is not None:
            takes_parts = self._content == "openai"
            form = replace(form, takes_parts=takes_parts, takes_text=not takes_parts)
        return fitted(messages, form)

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
        _check_free(extra)
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
            **self._defaults,
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


def _check_free(names: Collection[str]) -> None:
    if taken := [name for name in _RESERVED if name in names]:
        raise ClientError(
            f"The chat template gets {taken[0]!r} from the request itself; leave it out of "
            "'chat_template_kwargs'.",
            param="chat_template_kwargs",
        )


class _Program:
    """One template, compiled; it knows the lines of its errors."""

    def __init__(self, source: str, name: str, sandbox: Sandbox) -> None:
        self.source = source
        try:
            syntax = sandbox.parse(source)
            self.form = form_of(syntax)
            names = syntax.find_all(nodes.Name)
            self.variables = frozenset(each.name for each in names if each.ctx == "load")
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


def form_of(syntax: nodes.Template) -> MessageForm:
    """Read from a parsed template in what form it takes messages.

    It takes parts if it has a loop over a content, and then texts too if it asks what a content is.
    """
    names = {"content"}
    for each in syntax.find_all(nodes.Assign):
        if isinstance(each.target, nodes.Name) and _is_member(each.node, "content", names):
            names.add(each.target.name)

    def is_content(node: nodes.Node) -> bool:
        return _is_member(node, "content", names)

    takes_parts = any(is_content(loop.iter) for loop in syntax.find_all(nodes.For))
    kinds = ("string", "iterable", "sequence", "mapping")
    asks = any(test.name in kinds and is_content(test.node) for test in syntax.find_all(nodes.Test))
    return MessageForm(
        takes_parts=takes_parts,
        takes_text=asks or not takes_parts,
        joins_arguments=_joins_arguments(syntax),
        knows_developer=any(each.value == "developer" for each in syntax.find_all(nodes.Const)),
    )


def _joins_arguments(syntax: nodes.Template) -> bool:
    """Tell whether a template writes a call's arguments as they are, and does nothing else to them.

    What does something else, such as `tojson`, `items` or a loop, is for objects.
    """
    written = [
        *(side for each in syntax.find_all(nodes.Add) for side in (each.left, each.right)),
        *(part for each in syntax.find_all(nodes.Concat) for part in each.nodes),
        *(part for each in syntax.find_all(nodes.Output) for part in each.nodes),
    ]
    taken = [
        *(each.node for each in syntax.find_all(nodes.Filter)),
        *(each.node for each in syntax.find_all(nodes.Getattr)),
        *(each.node for each in syntax.find_all(nodes.Assign)),
        *(each.iter for each in syntax.find_all(nodes.For)),
    ]

    def has_arguments(found: Sequence[nodes.Node | None]) -> bool:
        return any(_is_member(each, "arguments", set()) for each in found)

    return has_arguments(written) and not has_arguments(taken)


def _is_member(node: nodes.Node | None, member: str, names: set[str]) -> bool:
    match node:
        case nodes.Name():
            return node.name in names
        case nodes.Getattr():
            return node.attr == member
        case nodes.Getitem():
            return isinstance(node.arg, nodes.Const) and node.arg.value == member
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
