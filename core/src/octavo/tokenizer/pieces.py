"""What each token stands for, looked up once and kept.

Two kinds of vocabulary are known, by the decoder that the tokenizer brings:

    ByteLevel       each character of a token stands for one byte (GPT-2, Llama 3, SmolLM)
    pieces          a token is text, or one byte written <0xE2>, and the first of a text may read
                    otherwise than the rest:
      Replace ▁, ByteFallback, Fuse, Strip     spaces before the text go (Llama 2, Gemma)
      ByteFallback, Metaspace                  the first loses its ▁ (T5, XLM-R)
      WordPiece                                all but the first have a space, or ## (BERT)

Most tokens are *plain*: away from the beginning, and after whole characters, each is text of
its own. `plain` has the text of those, so that such a token costs one look into a dict.

Does not know what came before a token: that is `stream`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tokenizers

from octavo.errors import ModelError

Seen = TypeVar("Seen")

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>")


class Table(dict[int, Seen]):
    """Something of each token, found when the token is first met."""

    def __init__(self, find: Callable[[int], Seen]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, token_id: int) -> Seen:
        found = self[token_id] = self._find(token_id)
        return found


class ByteLevelTables:
    """The bytes of each token, and their text where they are whole characters."""

    def __init__(self, spelling: Callable[[int], str | None]) -> None:
        byte_of = _byte_of_character()

        def bytes_of(token_id: int) -> bytes:
            token = spelling(token_id) or ""
            try:
                return bytes([byte_of[character] for character in token])
            except KeyError:  # an added token is its own text
                return token.encode()

        def text_of(token_id: int) -> str | None:
            try:
                return self.bytes_of[token_id].decode()
            except UnicodeDecodeError:
                return None

        self.bytes_of = Table(bytes_of)
        self.plain = Table(text_of)


@dataclass(frozen=True, slots=True)
class PieceRule:
    """How pieces become text. A run of byte tokens makes pieces too, which `spelled` is spared.

    `spelled` reads a token as a piece; `later` gives a piece's text. As long as the text is
    beginning, `opening` gives it instead, and says how much of the beginning is left of
    `num_opening`: spaces to strip, or 1 for the first piece.
    """

    has_bytes: bool
    spelled: Callable[[str], str]
    later: Callable[[str], str]
    num_opening: int
    opening: Callable[[str, int], tuple[str, int]]


class PieceTables:
    """The piece of each token, a byte, or None for one that counts for nothing; and its bytes."""

    def __init__(self, spelling: Callable[[int], str | None], rule: PieceRule) -> None:
        def piece_of(token_id: int) -> str | bytes | None:
            token = spelling(token_id)
            if token is None:
                return None
            if rule.has_bytes and (byte := _BYTE_TOKEN.fullmatch(token)):
                return bytes([int(byte[1], 16)])
            return rule.spelled(token)

        def text_of(token_id: int) -> str | None:
            piece = self.piece_of[token_id]
            if piece is None:
                return ""
            return None if isinstance(piece, bytes) else rule.later(piece)

        def bytes_of(token_id: int) -> bytes:
            piece = self.piece_of[token_id]
            return piece if isinstance(piece, bytes) else (text_of(token_id) or "").encode()

        self.rule = rule
        self.piece_of = Table(piece_of)
        self.bytes_of = Table(bytes_of)
        self.plain = Table(text_of)


def tables_of(
    backend: tokenizers.Tokenizer,
) -> Callable[[bool], ByteLevelTables | PieceTables]:
    """Give what makes a tokenizer's tables, told whether special tokens count for nothing.

    Raises: ModelError, for a tokenizer that decodes in a way that is not known.
    """
    parts = _decoder_parts(backend)
    match parts:
        case [{"type": "ByteLevel"}]:
            return lambda skip_special: ByteLevelTables(_spelling(backend, skip_special))
    rule = _piece_rule(backend, parts)
    if rule is None:
        raise ModelError(
            f"The tokenizer decodes by {backend.decoder}, which is not known; known are "
            "byte-level BPE, SentencePiece and WordPiece."
        )
    return lambda skip_special: PieceTables(_spelling(backend, skip_special), rule)


def _spelling(backend: tokenizers.Tokenizer, skip_special: bool) -> Callable[[int], str | None]:
    """Give what spells a token: None for one that is not known or, if so asked, special."""
    added = backend.get_added_tokens_decoder().values()
    skipped = frozenset(token.content for token in added if token.special and skip_special)

    def spelling(token_id: int) -> str | None:
        token: str | None = backend.id_to_token(token_id)
        return None if token in skipped else token

    return spelling


def _decoder_parts(backend: tokenizers.Tokenizer) -> list[object]:
    # The library's objects tell their settings only in the form that they are pickled in.
    if backend.decoder is None:
        return []
    settings = json.loads(backend.decoder.__getstate__())
    parts = settings["decoders"] if settings["type"] == "Sequence" else [settings]
    return list(parts)


def _piece_rule(backend: tokenizers.Tokenizer, parts: list[object]) -> PieceRule | None:
    """Read a decoder's parts as a rule; None for one that is not known.

    Source: the `tokenizers` library, decoders `ByteFallback`, `Strip`, `Metaspace`, `WordPiece`.
    """
    match parts:
        case [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            *rest,
        ] if (num_stripped := _num_stripped(rest)) is not None:
            return PieceRule(True, _with_spaces, _as_it_is, num_stripped, _stripped)
        case [
            *before,
            {"type": "Metaspace", "replacement": str(mark), "prepend_scheme": str(scheme)},
        ] if before in ([], [{"type": "ByteFallback"}]):
            return PieceRule(
                has_bytes=bool(before),
                spelled=_as_it_is,
                later=lambda piece: piece.replace(mark, " "),
                num_opening=int(scheme != "never"),
                opening=lambda piece, _: (piece.replace(mark, ""), 0),
            )
        case [{"type": "WordPiece"}]:
            decode = backend.decoder.decode
            return PieceRule(
                has_bytes=False,
                spelled=_as_it_is,
                # What a piece becomes depends on whether it is the first, and on nothing else.
                later=lambda piece: decode(["x", piece]).removeprefix("x"),
                num_opening=1,
                opening=lambda piece, _: (decode([piece]), 0),
            )
    return None


def _num_stripped(parts: list[object]) -> int | None:
    match parts:
        case []:
            return 0
        case [{"type": "Strip", "content": " ", "start": int(start), "stop": 0}]:
            return start
    return None


def _with_spaces(token: str) -> str:
    return token.replace("▁", " ")


def _as_it_is(piece: str) -> str:
    return piece


def _stripped(piece: str, num_left: int) -> tuple[str, int]:
    num_spaces = len(piece) - len(piece.lstrip(" "))
    if num_spaces < len(piece):
        return piece[min(num_spaces, num_left) :], 0
    num_gone = min(num_spaces, num_left)
    return piece[num_gone:], num_left - num_gone


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
