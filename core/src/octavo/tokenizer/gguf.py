"""The tokenizer that a GGUF file's metadata describes.

The file holds a vocabulary, merges or scores, and the *name* of the rule that cuts text into
words; what each name means is a row of a table here. A name without a row is refused: the wrong
rule gives a model other tokens than it was trained on, and nobody sees why it is dull.

Knows nothing of tensors or of the file's layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from octavo.errors import ModelError
from octavo.tokenizer.special import eos_ids_of
from octavo.tokenizer.text import Tokenizer

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_PREFIX = "tokenizer.ggml."


@dataclass(frozen=True, slots=True)
class WordRule:
    """How text is cut before merging: patterns one after the other, then perhaps GPT-2's own.

    `whole_words` takes a word that is in the vocabulary without merging it; `adds_first` says
    whether texts get a first token if the file does not say.
    """

    patterns: tuple[str, ...]
    then_gpt2: bool
    whole_words: bool = False
    adds_first: bool = False


# Source: llama.cpp, llama-vocab.cpp, the table of pre-tokenizer types; checked against the
# tokenizer.json of the models that use them.
_SMOLLM = WordRule((r"\p{N}",), then_gpt2=True)
_GPT2 = WordRule((), then_gpt2=True)
_UNNAMED = WordRule(
    (
        r"[\p{P}\$\+<=>\^~\|]+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
        r"\p{N}+",
        r"[0-9][0-9][0-9]",
    ),
    then_gpt2=False,
)
_LLAMA3 = WordRule(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    then_gpt2=False,
    whole_words=True,
    adds_first=True,
)
WORD_RULES: Mapping[str, WordRule] = MappingProxyType(
    {
        "smollm": _SMOLLM,
        "gpt-2": _GPT2,
        "default": _UNNAMED,
        "llama-bpe": _LLAMA3,
        "llama3": _LLAMA3,
        "llama-v3": _LLAMA3,
    }
)


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
    _add_marked_tokens(backend, tokens, facts.numbers("token_type", len(tokens)))
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    special_tokens = {
        f"{role}_token": token
        for role, name in roles.items()
        if (token := facts.token(f"{name}_token_id", tokens)) is not None
    }
    _surround(
        backend,
        first=special_tokens.get("bos_token") if facts.flag("add_bos_token", adds_first) else None,
        last=special_tokens.get("eos_token") if facts.flag("add_eos_token", False) else None,
    )
    template = metadata.get("tokenizer.chat_template")
    return Tokenizer(
        backend,
        special_tokens=special_tokens,
        eos_ids=eos_ids_of(config),
        chat_template=template if isinstance(template, str) else None,
    )


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
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.then_gpt2),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend, rule.adds_first


def _sentencepiece(facts: _Facts, tokens: Sequence[str]) -> tokenizers.Tokenizer:
    ids = facts.ids(tokens)
    unknown = facts.token("unknown_token_id", tokens)
    merges = _merges_by_score(ids, facts.numbers("scores", len(tokens)))
    try:
        model = models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    except Exception as error:  # the library raises nothing more precise
        raise ModelError(f"{facts.path}: vocabulary and scores do not fit: {error}.") from error
    backend = tokenizers.Tokenizer(model)
    begins = facts.flag("add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if begins else spaces
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if begins else []),
        ]
    )
    return backend


def _merges_by_score(ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
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


def _add_marked_tokens(
    backend: tokenizers.Tokenizer, tokens: Sequence[str], marks: Sequence[float]
) -> None:
    """Make tokens that the file marks be recognised in text; control tokens are special."""
    special = [
        AddedToken(token, special=True, normalized=False)
        for token, mark in zip(tokens, marks, strict=True)
        if mark in (_CONTROL, _UNKNOWN)
    ]
    plain = [
        AddedToken(token, special=False, normalized=False)
        for token, mark in zip(tokens, marks, strict=True)
        if mark == _USER_DEFINED
    ]
    backend.add_special_tokens(special)
    backend.add_tokens(plain)


def _surround(backend: tokenizers.Tokenizer, *, first: str | None, last: str | None) -> None:
    """Make a tokenizer put a first and a last token around each text; None puts nothing.

    Effects: replaces the post-processor. The tokens are in the vocabulary.
    """
    parts = [*([first] if first else []), "$A", *([last] if last else [])]
    tokens = {token: backend.token_to_id(token) for token in (first, last) if token}
    backend.post_processor = TemplateProcessing(
        single=" ".join(parts), special_tokens=list(tokens.items())
    )
