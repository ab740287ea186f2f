"""SentencePiece: a vocabulary of scored pieces, and the `tokenizer.model` files that hold one.

A piece is text in which ▁ stands for a space; text without a piece is written in byte pieces or is
unknown. The file is a protocol buffer, of which a few fields are needed: they are read here, and
no further library. Both kinds are built, byte-pair pieces as merges and unigram pieces by their
scores, and cut text as the SentencePiece library does: normalised by the file's own map, as one
word, with a space before it if the file says so.

Knows nothing of special tokens' roles or of what stands around a text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from octavo.errors import ModelError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, _BPE = 1, 2
_DROPPED_SPACES = ((r"\A +| +\z", ""), (" {2,}", " "))


@dataclass(slots=True)
class Pieces:
    """A SentencePiece model as its file tells it; ids are places in `texts`.

    Source: sentencepiece, sentencepiece_model.proto, with its defaults.
    """

    texts: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    algorithm: int = UNIGRAM
    has_bytes: bool = False
    role_ids: dict[str, int] = field(default_factory=lambda: {"unk": 0, "bos": 1, "eos": 2})
    character_map: bytes = b""
    begins_with_space: bool = True
    drops_spaces: bool = True

    def role(self, name: str) -> str | None:
        """Give the piece that plays a role (bos, eos, unk, pad), None where none does."""
        piece_id = self.role_ids.get(name, -1)
        return self.texts[piece_id] if 0 <= piece_id < len(self.texts) else None


def is_model(data: bytes) -> bool:
    """Tell whether a file's beginning is a SentencePiece model's: a list of pieces comes first."""
    return data[:1] == b"\n"


def read_pieces(path: Path) -> Pieces:
    """Read a SentencePiece model.

    Raises: ModelError, for a file that is none.
    """
    pieces = Pieces()
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                _add_piece(pieces, dict(_fields(_bytes(value))))
            elif number == 2:
                _read_trainer(pieces, dict(_fields(_bytes(value))))
            elif number == 3:
                _read_normaliser(pieces, dict(_fields(_bytes(value))))
    except (ValueError, struct.error) as error:
        raise ModelError(f"{path} is no SentencePiece model ({error}). Fetch it again.") from error
    if not pieces.texts:
        raise ModelError(f"{path} is no SentencePiece model (it has no pieces). Fetch it again.")
    return pieces


def backend_of(
    path: Path, pieces: Pieces, *, begins_with_space: bool, only_first: bool
) -> tokenizers.Tokenizer:
    """Build the tokenizer of a SentencePiece model.

    A text may begin with a space that is put there; `only_first` puts none behind special tokens,
    and none where the text has one.

    Raises: ModelError, for an algorithm that is neither byte-pair nor unigram.
    """
    try:
        backend = tokenizers.Tokenizer(_model(path, pieces))
    except Exception as error:  # the library raises nothing more precise
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: its pieces do not fit together: {error}.") from error
    steps: list[normalizers.Normalizer] = []
    if pieces.character_map:
        steps += _mapped(path, pieces.character_map)
    if pieces.drops_spaces:
        steps += [normalizers.Replace(Regex(each), by) for each, by in _DROPPED_SPACES]
    if begins_with_space and only_first:
        metaspace = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        backend.pre_tokenizer = metaspace
    else:
        steps += spaced(begins_with_space=begins_with_space)
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    backend.decoder = decoder(begins_with_space=begins_with_space)
    add_marked(backend, pieces.texts, pieces.kinds)
    return backend


def scored_bpe(
    texts: Sequence[str],
    scores: Sequence[float],
    kinds: Sequence[float],
    *,
    unknown: str | None,
    has_bytes: bool,
) -> models.BPE:
    """Build byte-pair merges from scored pieces.

    Raises: Exception, as the library does where they do not fit.
    """
    ids = {text: piece_id for piece_id, text in enumerate(texts)}
    made = {
        text: piece_id
        for text, piece_id in ids.items()
        if kinds[piece_id] not in (UNKNOWN, CONTROL, BYTE)
    }
    merges = merges_by_score(made, scores)
    return models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=has_bytes)


def merges_by_score(ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Write a scored vocabulary as merges: each token from any two others, the best score first.

    Source: transformers, convert_slow_tokenizer.py, `generate_merges`.
    """
    merges: list[tuple[float, int, int, str, str]] = []
    for token, token_id in ids.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                merges.append((-scores[token_id], ids[left], ids[right], left, right))
    merges.sort()
    return [(left, right) for *_, left, right in merges]


def spaced(*, begins_with_space: bool) -> list[normalizers.Normalizer]:
    """Make what writes spaces as ▁, and puts one before each run of text."""
    before = [normalizers.Prepend("▁")] if begins_with_space else []
    return [*before, normalizers.Replace(" ", "▁")]


def decoder(*, begins_with_space: bool) -> decoders.Decoder:
    """Make what turns pieces into text, without the space that was put before it."""
    return decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if begins_with_space else []),
        ]
    )


def add_marked(backend: tokenizers.Tokenizer, texts: Sequence[str], kinds: Sequence[float]) -> None:
    """Make pieces that are marked so be recognised in text; control pieces are special.

    Effects: adds tokens to the backend, under the ids that they have.
    """
    for is_special, wanted in ((True, (CONTROL, UNKNOWN)), (False, (USER_DEFINED,))):
        found = [
            AddedToken(text, special=is_special, normalized=False)
            for text, kind in zip(texts, kinds, strict=True)
            if kind in wanted
        ]
        (backend.add_special_tokens if is_special else backend.add_tokens)(found)


def _mapped(path: Path, character_map: bytes) -> list[normalizers.Normalizer]:
    """Make what rewrites characters by a map.

    The `tokenizers` library finds the shortest beginning of a letter with marks in the map, where
    SentencePiece finds the longest: e, a dot and a hat become e with a dot (measured with 0.23).
    So letters are put together first, where the map does that.
    """
    try:
        mapped = normalizers.Precompiled(character_map)
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{path}: its map of characters is broken. Fetch it again.") from error
    composes = mapped.normalize_str("e\u0301") == "\u00e9"
    return [normalizers.NFC(), mapped] if composes else [mapped]


def _model(path: Path, pieces: Pieces) -> models.Model:
    unknown = pieces.role("unk")
    if pieces.algorithm == _BPE:
        return scored_bpe(
            pieces.texts, pieces.scores, pieces.kinds, unknown=unknown, has_bytes=pieces.has_bytes
        )
    if pieces.algorithm == UNIGRAM:
        scored = list(zip(pieces.texts, pieces.scores, strict=True))
        unknown_id = pieces.role_ids["unk"] if unknown is not None else None
        return models.Unigram(scored, unk_id=unknown_id, byte_fallback=pieces.has_bytes)
    raise ModelError(
        f"{path} cuts text by the algorithm {pieces.algorithm}; known are 1 (unigram) and 2 "
        "(byte-pair). Use a folder with a tokenizer.json."
    )


def _add_piece(pieces: Pieces, fields: Mapping[int, int | bytes]) -> None:
    score = fields.get(2, b"\0\0\0\0")
    pieces.texts.append(_bytes(fields.get(1, b"")).decode())
    pieces.scores.append(struct.unpack("<f", _bytes(score))[0])
    pieces.kinds.append(_number(fields.get(3, NORMAL)))


def _read_trainer(pieces: Pieces, fields: Mapping[int, int | bytes]) -> None:
    pieces.algorithm = _number(fields.get(3, UNIGRAM))
    pieces.has_bytes = bool(fields.get(35, 0))
    for number, role in ((40, "unk"), (41, "bos"), (42, "eos"), (43, "pad")):
        if number in fields:
            pieces.role_ids[role] = _number(fields[number])


def _read_normaliser(pieces: Pieces, fields: Mapping[int, int | bytes]) -> None:
    pieces.character_map = _bytes(fields.get(2, b""))
    pieces.begins_with_space = bool(fields.get(3, 1))
    pieces.drops_spaces = bool(fields.get(4, 1))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read a protocol buffer's fields: a number, and an integer or bytes.

    Raises: ValueError, for bytes that are none.
    Source: protobuf.dev, "Encoding".
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                number, at = _varint(data, at)
                yield key >> 3, number
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"a field of the kind {kind}")
        if at + size > len(data):
            raise ValueError("it ends too early")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at == len(data):
            raise ValueError("it ends too early")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes should be")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where a number should be")
    return value - (1 << 64) if value >> 63 else value  # -1 says: none
