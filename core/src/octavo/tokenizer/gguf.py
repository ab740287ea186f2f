"""The tokenizer that a GGUF file's metadata describes.

The file holds a vocabulary, merges or scores, and of a byte-level vocabulary the *name* of the rule
that cuts text into words; what each name means is a row of a table (`words`). A name without a row
is refused: the wrong rule gives a model other tokens than it was trained on, and nobody sees why it
is dull.

    gpt2     byte-level BPE (GPT-2, Llama 3, Qwen)
    llama    SentencePiece BPE, by scores (Llama 2, Gemma)
    gemma4   SentencePiece BPE, by merges
    t5       SentencePiece unigram (T5, XLM-R)
    bert     WordPiece; a token that begins a word has a ▁ here, the others have lost their ##

Knows nothing of tensors or of the file's layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from octavo.errors import ModelError
from octavo.tokenizer.special import eos_ids_of, surround
from octavo.tokenizer.spm import (
    CONTROL,
    UNIGRAM,
    Pieces,
    add_marked,
    backend_of,
    decoder,
    scored_bpe,
    spaced,
)
from octavo.tokenizer.text import Tokenizer
from octavo.tokenizer.words import WORD_RULES, cut_by

_PREFIX = "tokenizer.ggml."
_KINDS = {
    "gpt2": "byte-level BPE",
    "llama": "SentencePiece BPE",
    "gemma4": "SentencePiece BPE",
    "t5": "SentencePiece unigram",
    "bert": "WordPiece",
}
_ROLES = {
    "bos": ("bos",),
    "eos": ("eos",),
    "unk": ("unknown",),
    "pad": ("padding",),
    "cls": ("cls",),
    "sep": ("seperator", "separator"),  # as the format spells it
    "mask": ("mask",),
}


def load_metadata(
    path: Path, metadata: Mapping[str, object], config: Mapping[str, object]
) -> Tokenizer:
    """Build the tokenizer that the metadata of the GGUF file at `path` describes.

    Raises: ModelError, for a kind of tokenizer that is not known or metadata that is missing.
    Source: llama.cpp, llama-vocab.cpp, with its defaults.
    """
    check_metadata(path, metadata)
    facts = _Facts(path, metadata)
    kind = facts.text("model")
    tokens = facts.texts("tokens")
    first, last = "bos", "eos"
    adds_first, adds_last = True, False
    if kind == "gpt2":
        backend, adds_first = _byte_level(facts, tokens)
    elif kind in ("llama", "gemma4"):
        backend = _sentencepiece(facts, tokens, by_merges=kind == "gemma4")
    elif kind == "t5":
        backend, adds_first, adds_last = _unigram(facts, tokens), False, True
    else:
        assert kind == "bert", "other kinds are refused above"
        backend = _wordpiece(facts, tokens)
        first = "bos" if facts.role_id("cls", len(tokens)) is None else "cls"
        last, adds_last = "sep", True
    spelled = [backend.id_to_token(token_id) or "" for token_id in range(len(tokens))]
    add_marked(backend, spelled, facts.numbers("token_type", len(tokens)))
    special_tokens = {
        f"{role}_token": spelled[token_id]
        for role in _ROLES
        if (token_id := facts.role_id(role, len(tokens))) is not None
    }
    adds_first = facts.flag("add_bos_token", adds_first)
    adds_last = facts.flag(f"add_{last}_token", adds_last)
    surround(
        backend,
        first=special_tokens.get(f"{first}_token") if adds_first else None,
        last=special_tokens.get(f"{last}_token") if adds_last else None,
    )
    ends = (facts.token_id(f"{name}_token_id", len(tokens)) for name in ("eot", "eom"))
    return Tokenizer(
        backend,
        special_tokens=special_tokens,
        eos_ids=eos_ids_of(config) | {each for each in ends if each is not None},
        chat_templates=dict(_templates(metadata)),
    )


def check_metadata(path: Path, metadata: Mapping[str, object]) -> None:
    """Check that a file's kind of tokenizer and its rule of words are known, and build nothing.

    Raises: ModelError, naming those that are.
    """
    facts = _Facts(path, metadata)
    kind = facts.text("model")
    if kind not in _KINDS:
        known = ", ".join(f"{name!r} ({words})" for name, words in _KINDS.items())
        raise ModelError(
            f"{path} holds a tokenizer of the kind {kind!r}; known are {known}. Use the model's "
            "safetensors folder."
        )
    name = facts.text("pre", "default")
    if kind == "gpt2" and name not in WORD_RULES:
        raise ModelError(
            f"{path} cuts text into words by the rule {name!r}; known are "
            f"{', '.join(sorted(WORD_RULES))}. Use the model's safetensors folder."
        )


def _templates(metadata: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Give the chat templates, by name: `tokenizer.chat_template`, `.tool_use` and so on."""
    key = "tokenizer.chat_template"
    for name, value in metadata.items():
        if isinstance(value, str) and (name == key or name.startswith(f"{key}.")):
            yield name[len(key) + 1 :] or "default", value


class _Facts:
    """Reads what the metadata says of the tokenizer."""

    def __init__(self, path: Path, metadata: Mapping[str, object]) -> None:
        self.path = path
        self._metadata = metadata

    def text(self, key: str, default: str | None = None) -> str:
        value = self._metadata.get(_PREFIX + key, default)
        if not isinstance(value, str):
            raise self._unfit(key, "text")
        return value

    def texts(self, key: str) -> list[str]:
        values = self._values(key)
        found = [value for value in values if isinstance(value, str)]
        if not values or len(found) < len(values):
            raise self._unfit(key, "a list of texts")
        return found

    def numbers(self, key: str, length: int) -> list[float]:
        """Read one number for each token."""
        values = self._values(key)
        found = [each for each in values if isinstance(each, int | float) and math.isfinite(each)]
        if len(values) != length or len(found) < length:
            raise self._unfit(key, f"a list of {length} numbers, one for each token")
        return found

    def _values(self, key: str) -> tuple[object, ...]:
        values = self._metadata.get(_PREFIX + key)
        return values if isinstance(values, tuple) else ()

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._metadata.get(_PREFIX + key, default))

    def token_id(self, key: str, limit: int) -> int | None:
        token_id = self._metadata.get(_PREFIX + key)
        if token_id is None:
            return None
        if not isinstance(token_id, int) or not 0 <= token_id < limit:
            raise self._unfit(key, f"an id below {limit}")
        return token_id

    def role_id(self, role: str, limit: int) -> int | None:
        found = (self.token_id(f"{name}_token_id", limit) for name in _ROLES[role])
        return next((each for each in found if each is not None), None)

    def merges(self) -> list[tuple[str, str]]:
        """Read pairs of tokens, each written with a space between, the first to merge first."""
        cuts = ((merge, merge.find(" ", 1)) for merge in self.texts("merges"))
        return [(merge[:cut], merge[cut + 1 :]) for merge, cut in cuts]

    def bytes(self, key: str) -> bytes:
        """Read a list of bytes, signed or not."""
        values = self._values(key)
        numbers = [value & 255 for value in values if isinstance(value, int)]
        if len(numbers) < len(values):
            raise self._unfit(key, "a list of bytes")
        return bytes(numbers)

    def ids(self, tokens: Sequence[str]) -> dict[str, int]:
        ids = {token: token_id for token_id, token in enumerate(tokens)}
        if len(ids) != len(tokens):
            raise ModelError(f"{self.path} lists {len(tokens) - len(ids)} tokens twice.")
        return ids

    def _unfit(self, key: str, what: str) -> ModelError:
        return ModelError(
            f"{self.path}: {_PREFIX}{key} is missing or not {what}. Convert the model again."
        )


def _byte_level(facts: _Facts, tokens: Sequence[str]) -> tuple[tokenizers.Tokenizer, bool]:
    rule = WORD_RULES[facts.text("pre", "default")]
    try:
        model = models.BPE(facts.ids(tokens), facts.merges(), ignore_merges=rule.whole_words)
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{facts.path}: vocabulary and merges do not fit: {error}.") from error
    backend = tokenizers.Tokenizer(model)
    cut_by(rule, backend)
    return backend, rule.adds_first


def _sentencepiece(
    facts: _Facts, tokens: Sequence[str], *, by_merges: bool
) -> tokenizers.Tokenizer:
    ids, unknown_id = facts.ids(tokens), facts.role_id("unk", len(tokens))
    unknown = None if unknown_id is None else tokens[unknown_id]
    begins = facts.flag("add_space_prefix", not by_merges)
    try:
        if by_merges:
            model = models.BPE(
                ids, facts.merges(), unk_token=unknown, fuse_unk=True, byte_fallback=True
            )
        else:
            scores, kinds = (facts.numbers(key, len(tokens)) for key in ("scores", "token_type"))
            model = scored_bpe(tokens, scores, kinds, unknown=unknown, has_bytes=True)
    except ModelError:
        raise
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{facts.path}: vocabulary and merges do not fit: {error}.") from error
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.Sequence(spaced(begins_with_space=begins))
    backend.decoder = decoder(begins_with_space=begins)
    return backend


def _unigram(facts: _Facts, tokens: Sequence[str]) -> tokenizers.Tokenizer:
    facts.ids(tokens)
    unknown_id = facts.role_id("unk", len(tokens))
    if unknown_id is None:
        raise ModelError(f"{facts.path} names no unknown token. Convert the model again.")
    begins = facts.flag("add_space_prefix", True)
    pieces = Pieces(
        texts=list(tokens),
        scores=list(facts.numbers("scores", len(tokens))),
        kinds=[int(kind) for kind in facts.numbers("token_type", len(tokens))],
        algorithm=UNIGRAM,
        role_ids={"unk": unknown_id},
        character_map=facts.bytes("precompiled_charsmap"),
        begins_with_space=begins,
        drops_spaces=facts.flag("remove_extra_whitespaces", False),
    )
    return backend_of(facts.path, pieces, begins_with_space=begins, only_first=False)


def _wordpiece(facts: _Facts, tokens: Sequence[str]) -> tokenizers.Tokenizer:
    kinds = facts.numbers("token_type", len(tokens))
    unknown_id = facts.role_id("unk", len(tokens))
    if unknown_id is None:
        raise ModelError(f"{facts.path} names no unknown token. Convert the model again.")
    spelled = [_as_in_bert(token, kind) for token, kind in zip(tokens, kinds, strict=True)]
    backend = tokenizers.Tokenizer(
        models.WordPiece(
            facts.ids(spelled), unk_token=spelled[unknown_id], max_input_chars_per_word=100
        )
    )
    lowers = facts.flag("normalizer.lowercase", True)
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lowers, strip_accents=facts.flag("normalizer.strip_accents", lowers)
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _as_in_bert(token: str, kind: float) -> str:
    """Spell a token as BERT's own vocabulary does.

    Source: llama.cpp, convert_hf_to_gguf.py, `BertModel.set_vocab`.
    """
    is_bracketed = len(token) > 2 and token[0] == "[" and token[-1] == "]"
    if kind == CONTROL or is_bracketed:
        return token
    return token[1:] if token.startswith("▁") else f"##{token}"
