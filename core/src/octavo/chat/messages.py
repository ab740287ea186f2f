"""Messages as a template may see them: plain JSON values, under the names that templates read.

`plain` rebuilds what a caller gave out of plain values, so that a template meets no object with
methods. `fitted` brings what API clients write into the form that templates were written for:
content in parts or as one text, tool calls whose arguments are objects, a developer's words as the
system's. `Continued` marks where the last message ends, so that the text can be cut there for the
model to go on.

Knows nothing of Jinja.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from octavo.errors import ClientError

Message = Mapping[str, object]

# Names of a message's reasoning; what one of them says, templates find under the first two.
_REASONING = ("reasoning_content", "thinking", "reasoning")
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
_MARK = "OCTAVO_CONTINUES_HERE "  # its space tells whether the template trims


@dataclass(frozen=True, slots=True)
class MessageForm:
    """What a template makes of messages.

    Their content is a list of parts, a text, or either. `joins_arguments` says that it adds the
    arguments of a tool call to a text as they are, and `knows_developer` that it has words of its
    own for that role.
    """

    takes_parts: bool
    takes_text: bool
    joins_arguments: bool = False
    knows_developer: bool = False


@runtime_checkable
class _Dumping(Protocol):
    """A value that writes itself as JSON's types, as pydantic's models do."""

    def model_dump(self) -> object: ...


def plain(value: object) -> object:
    """Rebuild a value out of JSON's own types; what has no such form becomes its type's name.

    Source: transformers, utils/chat_template_utils.py, `_plain_template_data`.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):  # an enum, or a number of another library
            return kind(value) if kind is not str else str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, _Dumping) and not isinstance(value, type):
        return plain(value.model_dump())
    return f"<{type(value).__name__}>"


def plain_messages(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Rebuild messages: keys without a value are left out, reasoning is under all its names.

    Raises: ClientError, for no messages, or one that is no mapping.
    """
    if not messages:
        raise ClientError("A conversation needs a message; send at least one.", param="messages")
    rebuilt: list[dict[str, object]] = []
    for given in messages:
        message = plain(given)
        if not isinstance(message, dict):
            raise ClientError(
                f"A message is a mapping with a role and a content, not {message!r:.80}.",
                param="messages",
            )
        message = {key: value for key, value in message.items() if value is not None}
        reasoning = next((message[name] for name in _REASONING if name in message), None)
        if reasoning is not None:
            message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
        rebuilt.append(message)
    return rebuilt


def fitted(messages: Sequence[Message], form: MessageForm) -> list[dict[str, object]]:
    """Bring messages as API clients write them into the form that a template takes.

    A list of texts becomes one text for a template that takes no parts, and a text a list for one
    that takes nothing else; other parts stay. Arguments of tool calls, which clients write as JSON
    in a text, become the object that templates write themselves, unless a template joins texts.
    """
    return [_fitted(message, form) for message in messages]


def _fitted(message: Message, form: MessageForm) -> dict[str, object]:
    made = dict(message)
    if made.get("role") == "developer" and not form.knows_developer:
        made["role"] = "system"
    content = made.get("content")
    if isinstance(content, str) and not form.takes_text:
        made["content"] = [{"type": "text", "text": content}]
    elif isinstance(content, list | tuple):
        texts = [_text_of(part) for part in content]
        if form.takes_parts:
            made["content"] = [
                part if text is None else {"type": "text", "text": text}
                for part, text in zip(content, texts, strict=True)
            ]
        elif None not in texts:
            made["content"] = "".join(text for text in texts if text is not None)
    calls = made.get("tool_calls")
    if isinstance(calls, list | tuple) and not form.joins_arguments:
        made["tool_calls"] = [_with_arguments(call) for call in calls]
    return made


def _text_of(part: object) -> str | None:
    match part:
        case str(text):
            return text
        case {"type": str(kind), **rest} if kind in _TEXT_PARTS:
            words = rest.get("refusal" if kind == "refusal" else "text")
            return words if isinstance(words, str) else None
    return None


def _with_arguments(call: object) -> object:
    match call:
        case dict({"function": dict({"arguments": str(text)}) as function}):
            try:
                arguments = json.loads(text or "{}")
            except ValueError:
                return call  # a template may write the text as it is
            if isinstance(arguments, dict):
                return {**call, "function": {**function, "arguments": arguments}}
    return call


class Continued:
    """The last message of a conversation, marked at its end so that it can be found again.

    `field` is the part of the message to go on with, such as its content.

    Effects: the last of `messages` is marked; the mark never leaves `cut`.
    Raises: ClientError, for a message without the field, or a template that never reads it.
    Source: transformers, `render_jinja_template`: the same cut, and the same spaces behind it.
    """

    def __init__(self, messages: list[dict[str, object]], field: str, source: str) -> None:
        last = messages[-1]
        value = last.get(field)
        fields = [field]
        if field in _REASONING:
            fields = [name for name in _REASONING if name in last and last[name] == value]
        if value is None or not any(name in source for name in fields):
            raise _cannot_go_on(f"{field!r} is not there, or the chat template does not read it")
        match value:
            case str(text):
                self._text = text
                last.update(dict.fromkeys(fields, text + _MARK))
            case [*parts]:
                self._text = self._mark_last_text(parts)
            case _:
                raise _cannot_go_on(f"{field!r} is no text")

    def cut(self, rendered: str) -> str:
        """Cut a rendered conversation where the message ends.

        Raises: ClientError, for a template that does not write the message as it is.
        """
        if self._text.strip() not in rendered or _MARK.strip() not in rendered:
            raise _cannot_go_on("the chat template does not write it as it is")
        end = rendered.rindex(_MARK.strip())
        kept = rendered[:end]
        return kept if rendered.startswith(_MARK, end) else kept.rstrip()

    def _mark_last_text(self, parts: list[object]) -> str:
        for part in reversed(parts):
            if isinstance(part, dict) and isinstance(text := part.get("text"), str):
                part["text"] = text + _MARK
                return text
        raise _cannot_go_on("it has no text")


def _cannot_go_on(why: str) -> ClientError:
    return ClientError(
        f"The final message cannot be continued: {why}. End with a message that has text, or let "
        "a new one begin with 'add_generation_prompt'.",
        param="continue_final_message",
    )
