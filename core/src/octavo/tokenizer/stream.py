"""Token ids to text, a few at a time.

Each token stands for some bytes, and text is what the bytes mean; a character may be spread over
several tokens, and is given when its last byte has come. Two ways of writing bytes are known:

    byte-level      each character of a token stands for one byte (GPT-2, Llama 3, SmolLM)
    byte-fallback   a token is text, or one byte written <0xE2> (SentencePiece, Llama 2)

What a token stands for is looked up once and kept, so a token costs a look into a dict. The
`tokenizers` library's own `DecodeStream` is not used: it cannot give what it holds when the
output ends, a run of broken bytes costs it the square of its length, and with byte-fallback such a
run makes it raise (measured with 0.23).

Knows nothing of stop strings, or of where a prompt ends.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Sequence
from typing import Protocol

import tokenizers

from octavo.errors import ModelError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TextStream(Protocol):
    """The text of one output while it grows."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that they complete."""
        ...

    def skip(self, token_ids: Sequence[int]) -> None:
        """Take tokens of the prompt: they are the context of what follows, and give no text."""
        ...

    def finish(self) -> str:
        """Give what is left when no token follows: a replacement for a broken character."""
        ...


def stream_maker(backend: tokenizers.Tokenizer) -> Callable[[bool], TextStream]:
    """Give what makes a stream, told whether to skip special tokens.

    The decoding tables are made once here and shared by all streams.

    Raises: ModelError, for a tokenizer that decodes in a way that is not known.
    """
    tables = (_Vocabulary(backend, skip_special=False), _Vocabulary(backend, skip_special=True))
    match _decoder_parts(backend):
        case [{"type": "ByteLevel"}]:
            levels = tuple(ByteLevelTable(table) for table in tables)
            return lambda skip_special: ByteLevelStream(levels[skip_special])
        case [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            *rest,
        ] if (num_stripped := _stripped_spaces(rest)) is not None:
            pieces = tuple(ByteFallbackTable(table) for table in tables)
            return lambda skip_special: ByteFallbackStream(pieces[skip_special], num_stripped)
    raise ModelError(
        f"The tokenizer decodes by {backend.decoder}, which is not known; known are byte-level "
        "BPE and SentencePiece with byte fallback."
    )


class ByteLevelTable(dict[int, bytes]):
    """The bytes of each token, looked up when it is first met."""

    def __init__(self, vocabulary: _Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._byte_of = _byte_of_character()

    def __missing__(self, token_id: int) -> bytes:
        token = self._vocabulary.token(token_id) or ""
        try:
            piece = bytes([self._byte_of[character] for character in token])
        except KeyError:  # an added token is its own text
            piece = token.encode()
        self[token_id] = piece
        return piece


class ByteLevelStream:
    """The text of tokens whose characters stand for bytes."""

    def __init__(self, table: ByteLevelTable) -> None:
        self._table = table
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that they complete."""
        table = self._table
        return self._utf8.decode(b"".join([table[token_id] for token_id in token_ids]))

    def skip(self, token_ids: Sequence[int]) -> None:
        """Take tokens of the prompt; an unfinished character at their end is kept."""
        self.feed(token_ids)

    def finish(self) -> str:
        """Give a replacement for an unfinished character, if there is one."""
        return self._utf8.decode(b"", final=True)


class ByteFallbackTable(dict[int, str | bytes | None]):
    """What each token stands for: text, one byte, or nothing, as it is skipped or not known."""

    def __init__(self, vocabulary: _Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, token_id: int) -> str | bytes | None:
        token = self._vocabulary.token(token_id)
        piece: str | bytes | None
        if token is None:
            piece = None
        elif byte := _BYTE_TOKEN.fullmatch(token):
            piece = bytes.fromhex(byte[1])
        else:
            piece = token.replace("▁", " ")
        self[token_id] = piece
        return piece


class ByteFallbackStream:
    """The text of tokens that are text or single bytes.

    A run of byte tokens is judged as a whole: one byte out of place, and each byte of the run
    becomes a replacement character. So a run is held until a token of text ends it.

    Source: the `tokenizers` library, decoders `ByteFallback` and `Strip`.
    """

    def __init__(self, table: ByteFallbackTable, num_stripped: int) -> None:
        self._table = table
        self._num_stripped = num_stripped
        self._run = bytearray()

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that they complete."""
        text = ""
        for token_id in token_ids:
            piece = self._table[token_id]
            if isinstance(piece, bytes):
                self._run += piece
            elif piece is not None:
                text += self._end_of_run() + piece
        return self._stripped(text)

    def skip(self, token_ids: Sequence[int]) -> None:
        """Take tokens of the prompt; an unfinished character at their end is kept."""
        self.feed(token_ids)
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stripped(utf8.decode(self._run))
        self._run = bytearray(utf8.getstate()[0])

    def finish(self) -> str:
        """Give the text of the run of bytes at the end, if there is one."""
        return self._stripped(self._end_of_run())

    def _end_of_run(self) -> str:
        if not self._run:
            return ""
        run = bytes(self._run)
        self._run.clear()
        try:
            return run.decode()
        except UnicodeDecodeError:
            return _REPLACEMENT * len(run)

    def _stripped(self, text: str) -> str:
        while text and self._num_stripped:
            if text[0] == " ":
                text = text[1:]
                self._num_stripped -= 1
            else:
                self._num_stripped = 0
        return text


class _Vocabulary:
    """Gives a token's spelling; None for one that is not known or, if so asked, special."""

    def __init__(self, backend: tokenizers.Tokenizer, *, skip_special: bool) -> None:
        self._backend = backend
        added = backend.get_added_tokens_decoder().values()
        self._skipped = frozenset(t.content for t in added if t.special and skip_special)

    def token(self, token_id: int) -> str | None:
        token: str | None = self._backend.id_to_token(token_id)
        return None if token in self._skipped else token


def _byte_of_character() -> dict[str, int]:
    """Give the byte that each character stands for in a byte-level vocabulary.

    Printable bytes stand for themselves; the others follow from U+0100 on, in order.

    Source: GPT-2, encoder.py, `bytes_to_unicode`.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(0x100 + order): byte for order, byte in enumerate(others)})
    return table


def _decoder_parts(backend: tokenizers.Tokenizer) -> list[object]:
    # The library's objects tell their settings only in the form that they are pickled in.
    if backend.decoder is None:
        return []
    settings = json.loads(backend.decoder.__getstate__())
    parts = settings["decoders"] if settings["type"] == "Sequence" else [settings]
    return list(parts)


def _stripped_spaces(parts: list[object]) -> int | None:
    match parts:
        case []:
            return 0
        case [{"type": "Strip", "content": " ", "start": int(start), "stop": 0}]:
            return start
    return None
