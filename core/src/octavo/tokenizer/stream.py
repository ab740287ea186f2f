"""Token ids to text, a few at a time.

A character may be spread over several tokens, and is given when its last byte has come; all that
a stream gives, together, is what decoding the whole would have given.

A stream is *at rest* when it holds nothing back and its text has begun: then a plain token's
text is known from the token alone (`pieces`), and whoever has many outputs need not ask the
stream at all.

The `tokenizers` library's own `DecodeStream` is not used: it cannot give what it holds when the
output ends, a run of broken bytes costs it the square of its length, and with byte-fallback such a
run makes it raise (measured with 0.23).

Knows nothing of stop strings, or of where a prompt ends.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import tokenizers

from octavo.tokenizer.pieces import ByteLevelTables, PieceTables, tables_of

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LONGEST_UNFINISHED_BYTES = 3


class TextStream(Protocol):
    """The text of one output while it grows."""

    @property
    def plain(self) -> Mapping[int, str | None]:
        """Give the text of each token that is plain, and None for the others."""
        ...

    @property
    def is_at_rest(self) -> bool:
        """Tell whether a plain token's text is now what `plain` says, and leaves all as it is."""
        ...

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that they complete."""
        ...

    def skip(self, prompt: Sequence[int]) -> None:
        """Begin after a prompt: it is the context of what follows, and gives no text.

        Only its first and last few tokens are looked at.
        """
        ...

    def finish(self) -> str:
        """Give what is left when no token follows: a replacement for a broken character."""
        ...


def stream_maker(backend: tokenizers.Tokenizer) -> Callable[[bool], TextStream]:
    """Give what makes a stream, told whether to skip special tokens.

    The tables are made once here and shared by all streams.

    Raises: ModelError, for a tokenizer that decodes in a way that is not known.
    """
    make = tables_of(backend)
    by_skipping = make(False), make(True)
    return lambda skip_special: _stream(by_skipping[skip_special])


def _stream(tables: ByteLevelTables | PieceTables) -> TextStream:
    return ByteLevelStream(tables) if isinstance(tables, ByteLevelTables) else PieceStream(tables)


class ByteLevelStream:
    """The text of tokens whose characters stand for bytes."""

    def __init__(self, tables: ByteLevelTables) -> None:
        self.plain = tables.plain
        self._bytes_of = tables.bytes_of
        self._unfinished = b""

    @property
    def is_at_rest(self) -> bool:
        """Tell whether no character is unfinished."""
        return not self._unfinished

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that they complete."""
        bytes_of = self._bytes_of
        return self._read(b"".join([bytes_of[token_id] for token_id in token_ids]))

    def skip(self, prompt: Sequence[int]) -> None:
        """Begin after a prompt; an unfinished character at its end is kept."""
        tail = b""
        for position in range(len(prompt) - 1, -1, -1):
            tail = self._bytes_of[prompt[position]] + tail
            if len(tail) >= _LONGEST_UNFINISHED_BYTES:
                break
        self._read(tail)

    def finish(self) -> str:
        """Give a replacement for an unfinished character, if there is one."""
        text, _ = utf_8_decode(self._unfinished, "replace", True)
        self._unfinished = b""
        return text

    def _read(self, more: bytes) -> str:
        whole = self._unfinished + more
        text, num_read = utf_8_decode(whole, "replace", False)
        self._unfinished = whole[num_read:]
        return text


class PieceStream:
    """The text of tokens that are text or single bytes.

    A run of byte tokens is judged as a whole: one byte out of place, and each byte of the run
    becomes a replacement character. So a run is held until a token of text ends it.

    Source: the `tokenizers` library, decoder `ByteFallback`.
    """

    def __init__(self, tables: PieceTables) -> None:
        self.plain = tables.plain
        self._piece_of = tables.piece_of
        self._rule = tables.rule
        self._num_opening = tables.rule.num_opening
        self._run = bytearray()

    @property
    def is_at_rest(self) -> bool:
        """Tell whether no run of bytes is open, and the text has begun."""
        return not self._run and not self._num_opening

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that they complete."""
        text = ""
        for token_id in token_ids:
            piece = self._piece_of[token_id]
            if isinstance(piece, bytes):
                self._run += piece
            elif piece is not None:
                if self._run:
                    text += self._end_of_run()
                text += self._text_of(piece)
        return text

    def skip(self, prompt: Sequence[int]) -> None:
        """Begin after a prompt; an unfinished character at its end is kept."""
        for token_id in prompt:
            if not self._num_opening:
                break
            self.feed([token_id])
        run = b""
        for position in range(len(prompt) - 1, -1, -1):
            piece = self._piece_of[prompt[position]]
            if isinstance(piece, str):
                break
            run = (piece or b"") + run
        whole, num_read = utf_8_decode(run, "replace", False)
        if whole:
            self._text_of(whole)
        self._run = bytearray(run[num_read:])

    def finish(self) -> str:
        """Give the text of the run of bytes at the end, if there is one."""
        return self._end_of_run() if self._run else ""

    def _end_of_run(self) -> str:
        run = bytes(self._run)
        self._run.clear()
        try:
            return self._text_of(run.decode())
        except UnicodeDecodeError:
            return "".join([self._text_of(_REPLACEMENT) for _ in run])

    def _text_of(self, piece: str) -> str:
        if not self._num_opening:
            return self._rule.later(piece)
        text, self._num_opening = self._rule.opening(piece, self._num_opening)
        return text
