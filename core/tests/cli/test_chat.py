"""`octavo chat`: the loop, and both kinds of speakers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pytest

from octavo.cli.chat import Message, converse, local_speaker, served_speaker
from octavo.errors import ClientError, OperatorError
from octavo.testing.loaded import NullLoaded
from octavo.testing.served import Live, running

ASKED = {"temperature": 0, "max_tokens": 12}
HELLO: list[Message] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with running(NullLoaded(), api_key="sesame") as server:
        yield server


def talk(speaker: object, said: str, *, first: Sequence[Message] = ()) -> str:
    out = io.StringIO()
    assert callable(speaker)
    converse(speaker, first, io.StringIO(said), out)
    return out.getvalue()


class Echo:
    """A speaker that says what it heard."""

    def __init__(self) -> None:
        self.heard: list[list[Message]] = []

    def __call__(self, messages: Sequence[Message]) -> Iterator[str]:
        self.heard.append(list(messages))
        if messages[-1]["content"] == "bad":
            raise ClientError("that cannot be said")
        yield from ("you ", f"said {messages[-1]['content']}")


def test_the_history_grows_with_each_turn_until_it_starts_over() -> None:
    echo = Echo()
    system: Message = {"role": "system", "content": "be kind"}
    shown = talk(echo, "one\n\ntwo\n/new\nthree\n/exit\nfour\n", first=[system])
    assert "you said two" in shown
    assert [[message["content"] for message in heard] for heard in echo.heard] == [
        ["be kind", "one"],
        ["be kind", "one", "you said one", "two"],
        ["be kind", "three"],
    ]


def test_a_refused_message_is_told_and_forgotten() -> None:
    echo = Echo()
    assert "[that cannot be said]" in talk(echo, "bad\ngood\n")
    assert [message["content"] for message in echo.heard[-1]] == ["good"]


def test_a_model_here_and_on_a_server_say_the_same(live: Live) -> None:
    here = "".join(local_speaker(NullLoaded(), ASKED)(HELLO))
    assert here == "".join(served_speaker(live.url, "sesame", None, ASKED)(HELLO))
    assert here == "".join(served_speaker(f"{live.url}/v1/", "sesame", "null", ASKED)(HELLO))


def test_what_a_server_refuses_is_told_in_its_words(live: Live) -> None:
    with pytest.raises(ClientError, match="key is missing or wrong"):
        list(served_speaker(live.url, None, None, ASKED)(HELLO))


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(OperatorError, match="does not answer"):
        list(served_speaker("http://127.0.0.1:9", None, None, ASKED)(HELLO))
