"""How text is cut into words before tokens are merged, where a file gives only the rule's name.

Merging never crosses a word's end, so the wrong rule gives other tokens. A rule is patterns, one
after the other, each cutting what the one before left; then perhaps GPT-2's own.

A name is what whoever converted a model thought its rule to be, and may be wrong: a converter that
takes SmolLM2 for a plain GPT-2 ("gpt-2" for "smollm") drops that each digit is a word of its own,
and nothing in the file tells.

Knows nothing of files; what a file is named, or calls its rule, is theirs to look up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import tokenizers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers


@dataclass(frozen=True, slots=True)
class WordRule:
    """How text is cut before merging: patterns one after the other, then perhaps GPT-2's own.

    `composes` puts letters and their marks together first (NFC); `whole_words` takes a word that
    is in the vocabulary without merging it; `adds_first` says whether texts get a first token if
    the file does not say.
    """

    patterns: tuple[str, ...]
    then_gpt2: bool = False
    composes: bool = False
    whole_words: bool = False
    adds_first: bool = False


def cut_by(rule: WordRule, backend: tokenizers.Tokenizer) -> None:
    """Make a byte-level tokenizer cut text by a rule, and spell bytes as its vocabulary does.

    Effects: replaces the tokenizer's normaliser, pre-tokenizer and decoder.
    """
    if rule.composes:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = cutter(rule)
    backend.decoder = decoders.ByteLevel()


def cutter(rule: WordRule) -> pre_tokenizers.PreTokenizer:
    """Make what cuts text by a rule, and spells its bytes as byte-level vocabularies do."""
    return pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.then_gpt2),
        ]
    )


_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + _SPACES
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+|"
_WORDS = f"{_ENDINGS}|{_LETTERS}"
_THREE_DIGITS = _WORDS + r"\p{N}{1,3}" + _REST
_ONE_DIGIT = _WORDS + r"\p{N}" + _REST
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_SYMBOL_WORD = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"""
_MARKED = r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"


def _cased(
    ending: str, digits: str, *, but: str = "", symbols: str = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
) -> str:
    """Write the pattern that also cuts where small letters are followed by capitals."""
    before, upper, lower = r"[^\r\n\p{L}\p{N}]?", f"[{_UPPER}{but}]", f"[{_LOWER}{but}]"
    return (
        f"{before}{upper}*{lower}+{ending}|{before}{upper}+{lower}*{ending}|{digits}"
        f"|{symbols}{_SPACES}"
    )


_O200K = _cased(f"{_ENDINGS}?", r"\p{N}{1,3}")

# Letters with a case, as far as the tokenizer of DeepSeek's first models knows of them.
_CASED_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293"
    "\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
    "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59"
    "\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
    "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107"
    "\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139"
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee"
    "\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e"
    "\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_HAN_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_FULL_WIDTH = r"\s?[!-/:-~" + "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
_YOUTU = (
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c"
    "\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + _HAN_KANA
)
_BLOOM = r" ?[^(\s|.,!?" + "\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_HALVED_SPACES = "".join(rf"|\s{{{size}}}(?!\S)" for size in (512, 256, 128, 64, 32, 16, 8, 4))
_KIMI = _cased(
    f"{_ENDINGS}?", r"\p{N}{1,3}", but=r"&&[^\p{Han}]", symbols=r" ?[^\s\p{L}\p{N}]+[\r\n]*"
)

GPT2 = WordRule((), then_gpt2=True)
CL100K = WordRule((_THREE_DIGITS,))
O200K = WordRule((_O200K,))
QWEN = WordRule((_ONE_DIGIT,), composes=True)
_DIGITS_APART = WordRule((r"\p{N}",), then_gpt2=True)

# Source: llama.cpp, llama-vocab.cpp, the table of pre-tokenizer types; the patterns are those of
# the tokenizer.json of the models that use them, which also say who composes (NFC). Left out are
# "afmoe", whose digits no pattern cuts, and names of vocabularies that are not byte-level:
# "gemma4", "granite-embed-multi-311m", "sarvam-moe" and "whitespace".
_RULES: tuple[tuple[str, WordRule], ...] = (
    (
        "gpt-2 phi-2 jais jina-es jina-de jina-v1-en jina-v2-code jina-v2-de jina-v2-es "
        "roberta-bpe exaone4 gigachat a.x-4.0 mellum trillion granite-docling",
        GPT2,
    ),
    ("mpt olmo modern-bert", WordRule((), then_gpt2=True, composes=True)),
    ("smollm starcoder refact codeshell exaone minerva-7b mellum2", _DIGITS_APART),
    ("command-r", WordRule((r"\p{N}",), then_gpt2=True, composes=True)),
    ("falcon", WordRule((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"))),
    ("default", WordRule((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"))),
    (
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        WordRule((_THREE_DIGITS,), whole_words=True, adds_first=True),
    ),
    ("dbrx smaug-bpe chatglm-bpe glm4", CL100K),
    ("qwen2", QWEN),
    (
        "deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
        WordRule((_ONE_DIGIT,)),
    ),
    (
        "qwen35",
        WordRule(
            (
                rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
                rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*{_SPACES}",
            ),
            composes=True,
        ),
    ),
    ("ufakzeka", WordRule((_LETTERS + r"\p{N}" + _REST,))),
    ("laguna", WordRule((r"[^\n]+|[\n]+", _ONE_DIGIT))),
    ("seed-coder", WordRule((rf"{_WORDS}\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+{_SPACES}",))),
    (
        "bailingmoe bailingmoe2 llada-moe",
        WordRule(
            (
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
                r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            )
        ),
    ),
    (
        "exaone-moe",
        WordRule(
            (
                rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+"
                r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
            )
        ),
    ),
    ("minicpm5", WordRule((r"\p{N}{1,3}", _WORDS + r"\p{N}+" + _REST), whole_words=True)),
    (
        "jais-2",
        WordRule(
            (
                rf"{_WORDS}\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+"
                rf"{_HALVED_SPACES}|\s{{1,2}}(?!\S)|\s{{1}}",
            )
        ),
    ),
    ("tekken", WordRule((_cased("", r"\p{N}"),), whole_words=True, adds_first=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", O200K),
    ("granite-embed-multi-97m", WordRule((_O200K,), whole_words=True)),
    ("tiny_aya cohere2moe", WordRule((r"\d{1,3}(?=(?:\d{3})*\b)", _O200K))),
    ("youtu", WordRule((_YOUTU, _cased(f"{_ENDINGS}?", r"\p{N}")), whole_words=True)),
    ("kimi-k2", WordRule((r"\p{Han}+|" + _KIMI,))),
    (
        "deepseek-llm",
        WordRule(
            (
                "[\r\n]",
                rf"\s?[{_CASED_LETTERS}]+",
                _FULL_WIDTH,
                r"\s+$",
                _HAN_HANGUL,
                r"\p{N}",
            )
        ),
    ),
    ("deepseek-coder", WordRule(("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_HANGUL, r"\p{N}"))),
    (
        "deepseek-v3 hunyuan-dense hy_v4 joyai-llm",
        WordRule((r"\p{N}{1,3}", _HAN_KANA, _SYMBOL_WORD + _MARKED + r"[\r\n]*" + _SPACES)),
    ),
    (
        "spark2_5",
        WordRule(
            (
                r"\p{N}{1,3}",
                _HAN_KANA,
                _SYMBOL_WORD + _MARKED + r"|[\r\n]|\s+(?!\S)|\s+",
                r"\p{N}",
            )
        ),
    ),
    ("bloom poro-chat gpt3-finnish", WordRule((_BLOOM,))),
    ("viking", WordRule((_BLOOM, r"\p{N}"))),
    ("superbpe", WordRule((r"\p{N}+", r"(?=(\d{3})+(?!\d))"))),
    (
        "chameleon",
        WordRule(
            (
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                r"([\t\n]|    |  )",
                r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]",
            ),
            then_gpt2=True,
            adds_first=True,
        ),
    ),
)
WORD_RULES: Mapping[str, WordRule] = MappingProxyType(
    {name: rule for names, rule in _RULES for name in names.split()}
)
