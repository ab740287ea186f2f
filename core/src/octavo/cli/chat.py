"""`octavo chat`: a conversation in the terminal, with a model in this process or on a server.

Both are a `Speaker`: messages in, pieces of the answer out. The loop that reads and writes
does not know which of them it has.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from octavo.cli.flags import add_chat_flags, add_model_flags, chat_settings_of
from octavo.cli.story import Story
from octavo.errors import ClientError, OperatorError

if TYPE_CHECKING:  # a conversation over --url needs no engine
    from octavo.asking import Loaded, SamplingParams

SUMMARY = "Talk to a model in this terminal"
EXAMPLES = """\
examples:
  octavo chat                                 the demo model
  octavo chat model.gguf --temperature 0
  octavo chat --url http://127.0.0.1:8000     a model that is served already
"""

Message = Mapping[str, object]
Speaker = Callable[[Sequence[Message]], Iterator[str]]
HINT = "Type a message; /new starts over, /exit or Ctrl-D ends."


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_model_flags(parser)
    add_chat_flags(parser)
    talk = parser.add_argument_group("conversation")
    talk.add_argument("--url", help="talk to this server instead of loading a model")
    talk.add_argument("--api-key", metavar="KEY", help="the server's key (default: OCTAVO_API_KEY)")
    talk.add_argument("--system", metavar="TEXT", help="a system message to begin with")
    talk.add_argument("--temperature", metavar="T", type=float, help="0 is greedy")
    talk.add_argument("--max-tokens", metavar="N", type=int, help="longest answer")


def run(args: argparse.Namespace) -> int:
    """Talk until the person has enough."""
    settings = chat_settings_of(args)
    asked = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    if args.url:
        speaker = served_speaker(args.url, args.api_key or settings.api_key, args.model, asked)
    else:
        from octavo.loading import load

        speaker = local_speaker(load(settings, report=Story()), asked)
    first: list[Message] = []
    if args.system:
        first.append({"role": "system", "content": args.system})
    converse(speaker, first, sys.stdin, sys.stdout)
    return 0


def converse(speaker: Speaker, first: Sequence[Message], source: TextIO, out: TextIO) -> None:
    """Read messages, write answers, until the source ends.

    Effects: an interrupt ends the answer that is being written, and the conversation if none is.
    """
    print(HINT, file=out)
    history = list(first)
    while True:
        print("\n> ", end="", file=out, flush=True)
        line = source.readline()
        said = line.strip()
        if not line or said == "/exit":
            print(file=out)
            return
        if said == "/new":
            history = list(first)
        elif said:
            history.append({"role": "user", "content": said})
            answer = _speak(speaker, history, out)
            if answer is None:
                history.pop()
            else:
                history.append({"role": "assistant", "content": answer})


def _speak(speaker: Speaker, history: Sequence[Message], out: TextIO) -> str | None:
    """Write an answer as it comes and give it whole; None where there is none."""
    pieces: list[str] = []
    try:
        for piece in speaker(history):
            pieces.append(piece)
            print(piece, end="", file=out, flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="", file=out)
    except ClientError as refusal:
        print(f"[{refusal}]", file=out)
        return None
    print(file=out)
    return "".join(pieces)


def local_speaker(loaded: Loaded, asked: Mapping[str, float | int | None]) -> Speaker:
    """Speak with a model of this process."""
    from octavo.llm import LLM

    llm = LLM(loaded)
    params = _params(loaded.default_sampling, asked)

    def speak(messages: Sequence[Message]) -> Iterator[str]:
        with closing(llm.chat_stream(messages, params)) as pieces:
            yield from pieces

    return speak


def _params(defaults: SamplingParams, asked: Mapping[str, float | int | None]) -> SamplingParams:
    temperature, max_tokens = asked["temperature"], asked["max_tokens"]
    return replace(
        defaults,
        temperature=defaults.temperature if temperature is None else temperature,
        max_tokens=None if max_tokens is None else int(max_tokens),
    )


def served_speaker(
    url: str, api_key: str | None, model: str | None, asked: Mapping[str, float | int | None]
) -> Speaker:
    """Speak with a server over the OpenAI API."""
    import httpx

    address = url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    wishes: dict[str, object] = {"model": model, **asked, "stream": True}
    fixed = {name: value for name, value in wishes.items() if value is not None}

    def speak(messages: Sequence[Message]) -> Iterator[str]:
        body = {**fixed, "messages": list(messages)}
        try:
            with httpx.stream("POST", address, json=body, headers=headers, timeout=None) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise ClientError(_told(answer.text))
                for line in answer.iter_lines():
                    yield from _piece(line)
        except httpx.HTTPError as error:
            raise OperatorError(
                f"The server at {url} does not answer: {error}. Is 'octavo serve' running there?"
            ) from error

    return speak


def _piece(line: str) -> Iterator[str]:
    """Give the text in a line of an event stream, if it has any.

    Raises: ClientError for an error frame.
    """
    if not line.startswith("data: ") or line == "data: [DONE]":
        return
    chunk = json.loads(line.removeprefix("data: "))
    if "error" in chunk:
        raise ClientError(chunk["error"]["message"])
    for choice in chunk["choices"]:
        text = choice["delta"].get("content")
        if text:
            yield text


def _told(text: str) -> str:
    """Give the message in an error's body, or the body itself where it is none of ours."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500] or "The server refused without a word."
