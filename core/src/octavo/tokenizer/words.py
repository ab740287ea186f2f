"""How text is cut into words before tokens are merged, where a file gives only the rule's name.

Merging never crosses a word's end, so the wrong rule gives other tokens. A rule is patterns, one
after the other, each cutting what the one before left; then perhaps GPT-2's own.

Knows nothing of files; what a file is named, or calls its rule, is theirs to look up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tokenizers import Regex, pre_tokenizers


@dataclass(frozen=True, slots=True)
class WordRule:
    """How text is cut before merging: patterns one after the other, then perhaps GPT-2's own.

    `whole_words` takes a word that is in the vocabulary without merging it; `adds_first` says
    whether texts get a first token if the file does not say.
    """

    patterns: tuple[str, ...]
    then_gpt2: bool = False
    whole_words: bool = False
    adds_first: bool = False


def cutter(rule: WordRule) -> pre_tokenizers.PreTokenizer:
    """Make what cuts text by a rule, and spells its bytes as byte-level vocabularies do."""
    return pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.then_gpt2),
        ]
    )


_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_THREE_DIGITS = _WORDS + r"\p{N}{1,3}" + _REST
_ONE_DIGIT = _WORDS + r"\p{N}" + _REST
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(ending: str, digits: str) -> str:
    """Write the pattern that also cuts where small letters are followed by capitals."""
    before = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{before}{_UPPER}*{_LOWER}+{ending}|{before}{_UPPER}+{_LOWER}*{ending}|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


GPT2 = WordRule((), then_gpt2=True)
CL100K = WordRule((_THREE_DIGITS,))
O200K = WordRule((_cased(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}"),))
QWEN = WordRule((_ONE_DIGIT,))
_DIGITS_APART = WordRule((r"\p{N}",), then_gpt2=True)
_LLAMA3 = WordRule((_THREE_DIGITS,), whole_words=True, adds_first=True)
_TEKKEN = WordRule((_cased("", r"\p{N}"),), whole_words=True, adds_first=True)
_DEEPSEEK3 = WordRule(
    (
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
        r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
)
_UNNAMED = WordRule(
    (
        r"[\p{P}\$\+<=>\^~\|]+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
        r"\p{N}+",
        r"[0-9][0-9][0-9]",
    )
)
# Source: llama.cpp, llama-vocab.cpp, the table of pre-tokenizer types; the patterns are those of
# the tokenizer.json of the models that use them.
WORD_RULES: Mapping[str, WordRule] = MappingProxyType(
    {
        "smollm": _DIGITS_APART,
        "gpt-2": GPT2,
        "default": _UNNAMED,
        "llama-bpe": _LLAMA3,
        "llama3": _LLAMA3,
        "llama-v3": _LLAMA3,
        "qwen2": QWEN,
        "deepseek-r1-qwen": QWEN,
        "stablelm2": QWEN,
        "tekken": _TEKKEN,
        "gpt-4o": O200K,
        "llama4": O200K,
        "deepseek-v3": _DEEPSEEK3,
        "chatglm-bpe": CL100K,
        "glm4": CL100K,
        "dbrx": CL100K,
        "smaug-bpe": CL100K,
        "command-r": _DIGITS_APART,
        "refact": _DIGITS_APART,
        "starcoder": _DIGITS_APART,
        "mpt": GPT2,
        "olmo": GPT2,
        "phi-2": GPT2,
    }
)
