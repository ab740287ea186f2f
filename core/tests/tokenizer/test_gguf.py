"""Tokenizers built from GGUF metadata, against tokenizer.json and hand-made vocabularies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.gguf import load_metadata
from octavo.tokenizer.words import WORD_RULES, cutter
from octavo.weights import find

PATH = Path("tiny.gguf")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TRICKY = [
    "",
    " ",
    "Hello, world!",
    "  two  spaces   three\t\ttabs \n\n\n newlines\r\n ",
    "1234567890 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥",
    "I'm you're HE'S we'Ll 'tis",
    "naïve café Ünïcödé e\u0301 ǆ ﬁ",
    "日本語のテキスト。한국어 텍스트 العربية עברית हिन्दी ไทย",
    "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 \U0001f9ff",
    "def f(x):\n    return x**2  # comment\n\tif x != 3: pass\n",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    " <|im_end|> <|im_end|>x<|endoftext|> <repo_name> <|im_end",
    "a\u00a0b\u2003c\u200bd\ufeffe\x00f\x7f",
    '{"key": [1, 2, {"a": null}]} <div class=\'x\'>&amp;</div>',
    "ends with space ",
    "____----====!!!!????",
]


@pytest.mark.parametrize("text", TRICKY)
def test_demo_file_gives_the_ids_of_the_reference(
    demo_gguf: Path, demo_folder: Path, text: str
) -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.AutoTokenizer.from_pretrained(demo_folder)
    for path in (demo_gguf, demo_folder):
        tokenizer = find(str(path)).tokenizer()
        for add in (False, True):
            ids = tokenizer.encode(text, add_special_tokens=add)
            assert ids == reference.encode(text, add_special_tokens=add), path
        for skip in (False, True):
            expected = reference.decode(ids, skip_special_tokens=skip)
            assert tokenizer.decode(ids, skip_special_tokens=skip) == expected


def test_both_forms_of_the_demo_model_agree_on_everything(
    demo_gguf: Path, demo_folder: Path
) -> None:
    ours, theirs = find(str(demo_gguf)).tokenizer(), find(str(demo_folder)).tokenizer()
    assert ours.vocab_size == theirs.vocab_size == 49152
    assert ours.bos_id == theirs.bos_id == 1
    assert ours.eos_ids == theirs.eos_ids == {2}
    assert ours.special_tokens == theirs.special_tokens
    assert ours.chat_templates == theirs.chat_templates
    for token_id in range(49152):
        assert ours.token_text(token_id) == theirs.token_text(token_id)


def byte_level_metadata(pre: str, words: str | None = None) -> Mapping[str, object]:
    """Train a small byte-level vocabulary and write it as a GGUF file would hold it."""
    backend = tokenizers.Tokenizer(models.BPE())
    cut = [pre_tokenizers.Split(Regex(words), "isolated")] if words else []
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words is None)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*cut, level])
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|begin|>", "<|end|>"],
        show_progress=False,
    )
    backend.train_from_iterator(TRICKY * 3, trainer)
    vocabulary = backend.get_vocab()
    tokens = tuple(sorted(vocabulary, key=lambda token: vocabulary[token]))
    merges = json.loads(backend.to_str())["model"]["merges"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": tuple(" ".join(pair) for pair in merges),
        "tokenizer.ggml.token_type": (CONTROL, CONTROL) + (NORMAL,) * (len(tokens) - 2),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }


def cut_into_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Give the tokens' texts, each of which lies within one word."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    return [tokenizer.decode([token_id], skip_special_tokens=False) for token_id in ids]


@pytest.mark.parametrize(
    ("pre", "word"),
    [
        ("smollm", "2"),  # each digit alone
        ("gpt-2", " 2024"),  # digits together, with their space
        ("llama-bpe", "202"),  # three digits at most, without the space
        ("default", "202"),
        ("qwen2", "2"),
        ("tekken", "2"),
        ("gpt-4o", "202"),
        ("deepseek-v3", "202"),
        ("chatglm-bpe", "202"),
        ("command-r", "2"),
    ],
)
def test_rule_of_words_decides_how_digits_are_cut(pre: str, word: str) -> None:
    metadata = dict(byte_level_metadata("gpt-2"))
    tokens, merges = ["<|begin|>", "<|end|>", *"Ġ024x"], []
    for left, right in (("2", "0"), ("20", "2"), ("202", "4"), ("Ġ", "2024")):
        merges.append(f"{left} {right}")
        tokens.append(left + right)
    metadata["tokenizer.ggml.pre"] = pre
    metadata["tokenizer.ggml.tokens"] = tuple(tokens)
    metadata["tokenizer.ggml.merges"] = tuple(merges)
    metadata["tokenizer.ggml.token_type"] = (NORMAL,) * len(tokens)
    tokenizer = load_metadata(PATH, metadata, {})
    assert word in cut_into_words(tokenizer, "x 2024")


def test_llama3_takes_a_known_word_whole_and_begins_each_text() -> None:
    metadata = dict(byte_level_metadata("llama-bpe", LLAMA3_WORDS))
    tokens = metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, tuple)
    metadata["tokenizer.ggml.tokens"] = (*tokens, "zqzq")  # no merges lead to it
    metadata["tokenizer.ggml.token_type"] = (CONTROL, CONTROL) + (NORMAL,) * (len(tokens) - 1)
    tokenizer = load_metadata(PATH, metadata, {})
    assert tokenizer.encode("zqzq", add_special_tokens=True) == [0, len(tokens)]
    assert tokenizer.encode("zqzq", add_special_tokens=False) == [len(tokens)]


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_byte_level_text_comes_back_whatever_it_is(text: str) -> None:
    tokenizer = TINY
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


TINY = load_metadata(PATH, byte_level_metadata("smollm"), {"eos_token_id": [1, 300]})


def test_special_tokens_are_recognised_and_end_the_output() -> None:
    assert TINY.encode("<|begin|>a<|end|>", add_special_tokens=False)[::2] == [0, 1]
    assert TINY.decode([0, 1], skip_special_tokens=True) == ""
    assert TINY.eos_ids == {1, 300}
    assert TINY.special_tokens == {"bos_token": "<|begin|>", "eos_token": "<|end|>"}


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"tokenizer.ggml.pre": "kimi"}, "by the rule 'kimi'; known are a.x-4.0, bailingmoe"),
        ({"tokenizer.ggml.pre": "afmoe"}, "by the rule 'afmoe'; known are"),
        ({"tokenizer.ggml.model": "rwkv"}, "of the kind 'rwkv'; known are 'gpt2'"),
        ({"tokenizer.ggml.model": "t5"}, "names no unknown token"),
        ({"tokenizer.ggml.model": "bert"}, "names no unknown token"),
        ({"tokenizer.ggml.model": 3}, r"tokenizer\.ggml\.model is missing or not text"),
        ({"tokenizer.ggml.tokens": ("a", "a")}, "lists 1 tokens twice"),
        ({"tokenizer.ggml.token_type": (1, 1)}, "one for each token"),
        ({"tokenizer.ggml.merges": ("q zzz",)}, "do not fit"),
        ({"tokenizer.ggml.bos_token_id": 10**6}, "an id below"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused(change: Mapping[str, object], fact: str) -> None:
    with pytest.raises(ModelError, match=fact):
        load_metadata(PATH, {**byte_level_metadata("smollm"), **change}, {})


def test_a_number_of_a_token_that_is_none_is_refused() -> None:
    metadata = sentencepiece_metadata(PIECES)
    scores = metadata["tokenizer.ggml.scores"]
    assert isinstance(scores, tuple)
    with pytest.raises(ModelError, match=r"tokenizer\.ggml\.scores is .* one for each token"):
        load_metadata(PATH, {**metadata, "tokenizer.ggml.scores": (*scores[:-1], float("nan"))}, {})


def sentencepiece_metadata(pieces: Mapping[str, float]) -> Mapping[str, object]:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ("<unk>", "<s>", "</s>", *bytes_, *pieces)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": (0.0,) * 259 + tuple(pieces.values()),
        "tokenizer.ggml.token_type": (UNKNOWN, CONTROL, CONTROL)
        + (BYTE,) * 256
        + (NORMAL,) * len(pieces),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


PIECES = {
    "ab": -1.0,
    "▁a": -2.0,
    "▁ab": -3.0,
    "abc": -4.0,
    "▁": -9.0,
    "a": -9.1,
    "b": -9.2,
    "c": -9.3,
}


def sentencepiece_texts(tokenizer: Tokenizer, text: str) -> list[str | None]:
    return [tokenizer.token_text(i) for i in tokenizer.encode(text, add_special_tokens=True)]


def test_scores_decide_which_pieces_merge_first() -> None:
    tokenizer = load_metadata(PATH, sentencepiece_metadata(PIECES), {})
    # "▁abc": "ab" goes before "▁a", then "▁ab" before "abc".
    assert sentencepiece_texts(tokenizer, "abc") == ["<s>", "▁ab", "c"]
    assert sentencepiece_texts(tokenizer, "c abc") == ["<s>", "▁", "c", "▁ab", "c"]


def test_character_without_a_piece_becomes_its_bytes_and_comes_back() -> None:
    tokenizer = load_metadata(PATH, sentencepiece_metadata(PIECES), {})
    assert sentencepiece_texts(tokenizer, "é") == ["<s>", "▁", "<0xC3>", "<0xA9>"]
    ids = tokenizer.encode("a é  b", add_special_tokens=True)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a é  b"


def test_file_may_do_without_the_leading_space() -> None:
    metadata = {**sentencepiece_metadata(PIECES), "tokenizer.ggml.add_space_prefix": False}
    tokenizer = load_metadata(PATH, metadata, {})
    assert sentencepiece_texts(tokenizer, "abc") == ["<s>", "abc"]


# What each rule makes of a text with a little of everything, its words between bars.
CUT = "HE'S naïve e\u0301 12345 ½ x₂ \t\n\n  日本,語ｶ!? fooBar_baz//\n"
GPT2_CUT = "HE|'|S| naïve| e|\u0301| 12345| ½| x|₂| \t\n\n | 日本|,|語ｶ|!?| fooBar|_|baz|//|\n"
DIGITS_CUT = GPT2_CUT.replace(" 12345| ½", " |1|2|3|4|5| |½")
THREE_CUT = "HE|'S| naïve| e|\u0301| |123|45| |½| x|₂| \t\n\n| | 日本|,語ｶ|!?| fooBar|_baz|//\n"
ONE_CUT = THREE_CUT.replace("123|45", "1|2|3|4|5")
O200K_CUT = "HE'S| naïve| e\u0301| |123|45| |½| x|₂| \t\n\n| | 日本|,語ｶ|!?| foo|Bar|_baz|//\n"
BLOOM_CUT = "HE'S| naïve| e\u0301| 12345| ½| x₂| \t\n\n | 日本|,|語ｶ|!?| fooBar_baz//|\n"
DEEPSEEK_CUT = "HE|'S| naïve| e\u0301| |123|45| |½| x|₂| \t\n\n|  |日本|,|語|ｶ|!?| fooBar|_baz|//\n"
CUTS: dict[str, str] = {
    **dict.fromkeys(["gpt-2", "phi-2", "roberta-bpe", "exaone4", "mpt", "olmo"], GPT2_CUT),
    **dict.fromkeys(["smollm", "starcoder", "refact", "command-r", "exaone"], DIGITS_CUT),
    **dict.fromkeys(["llama-bpe", "falcon3", "lfm2", "dbrx", "glm4", "minicpm5"], THREE_CUT),
    **dict.fromkeys(["jais-2"], THREE_CUT),
    **dict.fromkeys(["qwen2", "deepseek-r1-qwen", "grok-2", "ufakzeka", "bailingmoe"], ONE_CUT),
    **dict.fromkeys(["gpt-4o", "llama4", "minimax-m2", "granite-embed-multi-97m"], O200K_CUT),
    "falcon": GPT2_CUT.replace(" 12345", " |123|45"),
    "default": GPT2_CUT.replace(" 12345| ½", " |123|45| |½"),
    "qwen35": ONE_CUT.replace("e|\u0301", "e\u0301"),
    "laguna": ONE_CUT.replace("\t\n\n", "\t|\n\n").replace("//\n", "//|\n"),
    "seed-coder": ONE_CUT.replace("//\n", "//|\n"),
    "exaone-moe": ONE_CUT.replace("naïve| e|\u0301", "naïve e\u0301"),
    "tekken": O200K_CUT.replace("HE'S", "HE|'S").replace("123|45", "1|2|3|4|5"),
    "tiny_aya": O200K_CUT.replace("123|45", "12|345"),
    "youtu": O200K_CUT.replace("123|45", "1|2|3|4|5").replace("| | 日本|,語", "|  |日本|,|語|"),
    "kimi-k2": O200K_CUT.replace("| | 日本|,語", "| | |日本|,|語|"),
    "deepseek-llm": "HE|'|S| na|ï|ve| e|\u0301 |1|2|3|4|5| |½| x|₂| \t|\n|\n|  |日本|,|語|ｶ|!?"
    "| fooBar|_|baz|//|\n",
    "deepseek-coder": "HE|'|S| naïve| e|\u0301 |1|2|3|4|5| |½| x|₂| \t|\n|\n| | |日本|,|語|ｶ|!?"
    "| fooBar|_|baz|//|\n",
    **dict.fromkeys(["deepseek-v3", "hunyuan-dense", "joyai-llm"], DEEPSEEK_CUT),
    "spark2_5": DEEPSEEK_CUT.replace("123|45", "1|2|3|4|5")
    .replace("\n\n|  ", "\n\n  ")
    .replace("//\n", "//|\n"),
    **dict.fromkeys(["bloom", "poro-chat", "gpt3-finnish"], BLOOM_CUT),
    "viking": BLOOM_CUT.replace(" 12345| ½| x₂", " |1|2|3|4|5| |½| x|₂"),
    "superbpe": "HE'S naïve e\u0301 |12|345| |½| x|₂| \t\n\n  日本,語ｶ!? fooBar_baz//\n",
    "chameleon": "HE|'|S| naïve| e|\u0301| |1|2|3|4|5| |½| x|₂| |\t|\n|\n|  |日本|,|語ｶ|!|?"
    "| fooBar|_|baz|/|/|\n",
}


@pytest.mark.parametrize("pre", CUTS)
def test_rule_of_words_cuts_as_the_models_own(pre: str) -> None:
    pieces = cutter(WORD_RULES[pre]).pre_tokenize_str(CUT)
    assert "|".join(CUT[start:end] for _, (start, end) in pieces) == CUTS[pre]


def test_every_rule_of_words_is_seen_to_cut() -> None:
    assert {WORD_RULES[pre] for pre in CUTS} | {WORD_RULES["megrez"]} == set(WORD_RULES.values())


@pytest.mark.parametrize("pre", ["qwen2", "qwen35", "command-r", "olmo", "mpt"])
def test_letters_are_put_together_with_their_marks_where_the_model_had_them_so(pre: str) -> None:
    tokenizer = load_metadata(PATH, byte_level_metadata(pre), {})
    marked, whole = (
        tokenizer.encode(text, add_special_tokens=False) for text in ("e\u0301", "\u00e9")
    )
    assert marked == whole


def test_named_chat_templates_are_read() -> None:
    template = "tokenizer.chat_template"
    metadata = {**byte_level_metadata("smollm"), template: "a", f"{template}.tool_use": "b"}
    assert load_metadata(PATH, metadata, {}).chat_templates == {"default": "a", "tool_use": "b"}
