"""What an OpenAI client may send as a conversation, and what becomes of it: token ids.

Messages, tools and documents are checked here, and reach the chat template in the client's own
words and order, because templates write them out. Whether the model then calls a tool is its own
affair: a call is part of its text, which nobody here reads.

Does not know what a route makes of the ids.
Source: the OpenAI API reference for chat completions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

from octavo.asking import conversation_ids
from octavo.errors import ClientError, UnsupportedParameter
from octavo.server.openai.protocol import Body, Flag
from octavo.server.served import Served

Name = Annotated[str, Field(min_length=1)]

_NO_PARSING = (
    "nothing here holds the model to a call, or reads one from its text. Send 'auto' and read the "
    "call in the message's content"
)


class Verbatim(BaseModel):
    """An object that is checked, and kept as the client wrote it. It may have further keys."""

    model_config = ConfigDict(extra="allow")
    _words: dict[str, object] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return handler(value).written(value)

    def written(self, value: object) -> Self:
        """Keep how the client wrote it, without what has no value."""
        if isinstance(value, Mapping):
            self._words = {name: each for name, each in value.items() if each is not None}
        return self

    @property
    def words(self) -> dict[str, object]:
        """Give it as the client wrote it."""
        return self._words


class TextPart(Body):
    """A part of a message's content that is text."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class RefusalPart(Body):
    """A part of an assistant's message in which it refuses."""

    type: Literal["refusal"]
    refusal: str


class CalledFunction(BaseModel):
    """Which function a call is of, and its arguments: JSON in a text."""

    model_config = ConfigDict(extra="allow")
    name: Name
    arguments: str = ""


class ToolCall(BaseModel):
    """A call that the assistant made."""

    model_config = ConfigDict(extra="allow")
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Verbatim):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart | RefusalPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def for_template(self) -> dict[str, object]:
        """Give the message as a template reads it: with a content, be it empty."""
        return {"content": "", **self.words}


class Function(BaseModel):
    """A function that the model may ask for; `parameters` is a JSON schema."""

    model_config = ConfigDict(extra="allow")
    name: Name
    description: str | None = None
    parameters: dict[str, object] | None = None


class Tool(Verbatim):
    """A tool that the model may ask for."""

    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    """The name of a function."""

    name: Name


class NamedTool(Body):
    """A tool that the model must ask for."""

    type: Literal["function"]
    function: NamedFunction


class ConversationBody(Body):
    """The parts of a body that are about the conversation.

    Without `add_generation_prompt` the assistant's message is begun, unless the final message is
    continued. Of `chat_template_kwargs` a template takes what it knows.
    """

    messages: Annotated[list[Message], Field(min_length=1)]
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: Flag | None = None
    documents: list[dict[str, object]] | None = None
    reasoning_effort: Name | None = None
    chat_template: Name | None = None
    chat_template_kwargs: dict[str, object] | None = None
    add_generation_prompt: Flag | None = None
    continue_final_message: Flag | None = None

    @model_validator(mode="after")
    def _agree_on_tools(self) -> Self:
        if self.tool_choice in (None, "none"):
            return self
        if self.tools is None:
            raise ClientError(
                "'tool_choice' is among 'tools', but there are none. Send some, or leave it out.",
                param="tool_choice",
            )
        if isinstance(self.tool_choice, NamedTool):
            wanted, names = self.tool_choice.function.name, [t.function.name for t in self.tools]
            if wanted not in names:
                known = ", ".join(names) or "none"
                raise ClientError(
                    f"'tool_choice' names '{wanted}', but 'tools' has {known}.", param="tool_choice"
                )
        if self.tool_choice != "auto":
            raise UnsupportedParameter("tool_choice", why=_NO_PARSING)
        return self

    @model_validator(mode="after")
    def _let_calls_be(self) -> Self:
        if self.told_tools and self.parallel_tool_calls is False:
            raise UnsupportedParameter("parallel_tool_calls", why=_NO_PARSING)
        return self

    @property
    def told_tools(self) -> list[dict[str, object]] | None:
        """Give the tools that the model is told of: none, where it must not choose any."""
        if not self.tools or self.tool_choice == "none":
            return None
        return [tool.words for tool in self.tools]


async def ids_of(
    served: Served, body: ConversationBody, *, add_special_tokens: bool = False
) -> list[int]:
    """Turn the conversation into token ids.

    Effects: a template that the client brought runs in a thread of its own.
    Raises: ClientError, for a template that must not be used, or that refuses.
    """
    template, chat = body.chat_template, served.model.chat
    is_own = template is not None and (chat is None or template not in chat.names)
    if is_own and not served.trusts_templates:
        names = "none" if chat is None else ", ".join(chat.names)
        raise ClientError(
            "A 'chat_template' from a client is a program, and this server runs none. Name one of "
            f"the model's ({names}), or start the server with --trust-request-chat-template.",
            param="chat_template",
        )
    make = partial(
        conversation_ids,
        served.model,
        [message.for_template() for message in body.messages],
        chat_template=template,
        add_generation_prompt=_begins(body),
        continue_final_message=bool(body.continue_final_message),
        tools=body.told_tools,
        documents=body.documents,
        reasoning_effort=body.reasoning_effort,
        chat_template_kwargs=body.chat_template_kwargs,
        add_special_tokens=add_special_tokens,
    )
    return await asyncio.to_thread(make) if is_own else make()


def _begins(body: ConversationBody) -> bool:
    if body.add_generation_prompt is None:
        return not body.continue_final_message
    return body.add_generation_prompt
