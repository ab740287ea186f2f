"""The tokenizer that a GGUF file's metadata describes.

The file holds a vocabulary, merges or scores, and the *name* of the rule that cuts text into
words; what each name means is a row of a table (`words`). A name without a row is refused: the
wrong rule gives a model other tokens than it was trained on, and nobody sees why it is dull.

Knows nothing of tensors or of the file's layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers

from octavo.errors import ModelError
from octavo.tokenizer.special import eos_ids_of, surround
from octavo.tokenizer.spm import add_marked, decoder, scored_bpe, spaced
from octavo.tokenizer.text import Tokenizer
from octavo.tokenizer.words import WORD_RULES, cutter

_PREFIX = "tokenizer.ggml."


def load_metadata(
    path: Path, metadata: Mapping[str, object], config: Mapping[str, object]
) -> Tokenizer:
    """Build the tokenizer that the metadata of the GGUF file at `path` describes.

    Raises: ModelError, for a kind of tokenizer that is not known or metadata that is missing.
    """
    facts = _Facts(path, metadata)
    kind = facts.text("model")
    tokens = facts.texts("tokens")
    if kind == "gpt2":
        backend, adds_first = _byte_level(facts, tokens)
    elif kind == "llama":
        backend, adds_first = _sentencepiece(facts, tokens), True
    else:
        raise ModelError(
            f"{path} holds a tokenizer of the kind {kind!r}; known are 'gpt2' (byte-level BPE) "
            "and 'llama' (SentencePiece BPE). Use the model's safetensors folder."
        )
    add_marked(backend, tokens, facts.numbers("token_type", len(tokens)))
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    special_tokens = {
        f"{role}_token": token
        for role, name in roles.items()
        if (token := facts.token(f"{name}_token_id", tokens)) is not None
    }
    surround(
        backend,
        first=special_tokens.get("bos_token") if facts.flag("add_bos_token", adds_first) else None,
        last=special_tokens.get("eos_token") if facts.flag("add_eos_token", False) else None,
    )
    return Tokenizer(
        backend,
        special_tokens=special_tokens,
        eos_ids=eos_ids_of(config),
        chat_templates=dict(_templates(metadata)),
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
        found = [value for value in values if isinstance(value, int | float)]
        if len(values) != length or len(found) < length:
            raise self._unfit(key, f"a list of {length} numbers, one for each token")
        return found

    def _values(self, key: str) -> tuple[object, ...]:
        values = self._metadata.get(_PREFIX + key)
        return values if isinstance(values, tuple) else ()

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._metadata.get(_PREFIX + key, default))

    def token(self, key: str, tokens: Sequence[str]) -> str | None:
        token_id = self._metadata.get(_PREFIX + key)
        if token_id is None:
            return None
        if not isinstance(token_id, int) or token_id >= len(tokens):
            raise self._unfit(key, f"an id below {len(tokens)}")
        return tokens[token_id]

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
    name = facts.text("pre", "default")
    rule = WORD_RULES.get(name)
    if rule is None:
        raise ModelError(
            f"{facts.path} cuts text into words by the rule {name!r}; known are "
            f"{', '.join(WORD_RULES)}. Use the model's safetensors folder."
        )
    merges = [(left, right) for left, _, right in (m.partition(" ") for m in facts.texts("merges"))]
    try:
        model = models.BPE(facts.ids(tokens), merges, ignore_merges=rule.whole_words)
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{facts.path}: vocabulary and merges do not fit: {error}.") from error
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = cutter(rule)
    backend.decoder = decoders.ByteLevel()
    return backend, rule.adds_first


def _sentencepiece(facts: _Facts, tokens: Sequence[str]) -> tokenizers.Tokenizer:
    facts.ids(tokens)
    try:
        model = scored_bpe(
            tokens,
            facts.numbers("scores", len(tokens)),
            facts.numbers("token_type", len(tokens)),
            unknown=facts.token("unknown_token_id", tokens),
            has_bytes=True,
        )
    except ModelError:
        raise
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{facts.path}: vocabulary and scores do not fit: {error}.") from error
    backend = tokenizers.Tokenizer(model)
    begins = facts.flag("add_space_prefix", True)
    backend.normalizer = normalizers.Sequence(spaced(begins_with_space=begins))
    backend.decoder = decoder(begins_with_space=begins)
    return backend
