"""Tokenizers written as GGUF metadata, as converters do, against those that they were written from.

Each is one of transformers' or of the SentencePiece library, with a vocabulary learned here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from octavo.tokenizer import Tokenizer
from octavo.tokenizer.gguf import load_metadata
from octavo.tokenizer.spm import read_pieces

PATH = Path("written.gguf")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
Metadata = Mapping[str, object]

HARD = [
    "",
    " ",
    "   ",
    "\n\n\n",
    " \t\r\n mixed \r\n\r\n ends ",
    "Hello, world!  two  spaces   three",
    "1 12 123 1234 12345 3.14 1,000,000 ½ ² Ⅷ ٣٤٥ ₂",
    "I'm YOU'RE he's we'Ll 'tis o'clock",
    "naïve café Ünïcödé ǆ ﬁ İ ß",
    "e\u0301 a\u0308o\u0302 \u0301 n\u0303o re\u0301sume\u0301",
    "日本語のテキスト。ｶﾀｶﾅ 한국어 텍스트 中文\uff0c测试\uff01",
    "العربية עברית हिन्दी ไทย বাংলা",
    "👍🏽 👩\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 🇩🇪 \U0001f9ff",
    "def f(x):\n    return x**2  # comment\n\tif x != 3: pass\n",
    "a\u00a0b\u2003c\u200bd\ufeffe\x00f\x01\x1b[0m\x7f\u0085",
    "<|begin|>a<|end|> <|begin|> x<|end|>y<|en",
    '{"key": [1, {"a": null}]} <div class=\'x\'>&amp;</div>',
    "fooBarBAZ_qux $+<=>^~|` ____----====!!!!????//\n",
]
LINES = [
    *HARD,
    *(f"the quick brown fox number {n} jumps over the lazy dog's naïve café" for n in range(60)),
]


class Reference(Protocol):
    def encode(self, text: str, add_special_tokens: bool = ...) -> list[int]: ...

    def decode(self, token_ids: list[int], skip_special_tokens: bool = ...) -> str: ...


def learned(backend: tokenizers.Tokenizer, special: list[str], size: int = 700) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    backend.train_from_iterator(LINES, trainer)


def written(backend: tokenizers.Tokenizer, pre: str) -> Metadata:
    """Write a byte-level tokenizer as a converter does."""
    vocabulary = backend.get_vocab(with_added_tokens=True)
    tokens = tuple(sorted(vocabulary, key=lambda token: vocabulary[token]))
    special = {each.content for each in backend.get_added_tokens_decoder().values()}
    merges = json.loads(backend.to_str())["model"]["merges"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": tuple(" ".join(pair) for pair in merges),
        "tokenizer.ggml.token_type": tuple(CONTROL if t in special else NORMAL for t in tokens),
        "tokenizer.ggml.eos_token_id": vocabulary["<|end|>"],
        "tokenizer.ggml.bos_token_id": vocabulary["<|begin|>"],
    }


BYTE_LEVEL = {
    "qwen2": "Qwen2Tokenizer",
    "qwen35": "Qwen3_5Tokenizer",
    "command-r": "CohereTokenizer",
    "olmo": "GPTNeoXTokenizer",
    "mpt": "GPTNeoXTokenizer",
    "gpt-2": "GPT2Tokenizer",
    "phi-2": "CodeGenTokenizer",
}


@pytest.mark.parametrize("pre", BYTE_LEVEL)
def test_a_byte_level_tokenizer_gives_the_ids_and_texts_of_its_family(pre: str) -> None:
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, BYTE_LEVEL[pre])
    empty = kind(vocab={"<|begin|>": 0, "<|end|>": 1}, merges=[]).backend_tokenizer
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer, backend.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    learned(backend, ["<|begin|>", "<|end|>"])
    model = json.loads(backend.to_str())["model"]
    reference: Reference = kind(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        **dict.fromkeys(["bos_token", "unk_token", "pad_token", "cls_token"], "<|begin|>"),
        **dict.fromkeys(["eos_token", "sep_token", "mask_token"], "<|end|>"),
    )
    tokenizer = load_metadata(PATH, written(backend, pre), {})
    for text in HARD:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == reference.encode(text, add_special_tokens=False), text
        if pre != "gpt-2":  # whose class may clean spaces up
            assert tokenizer.decode(ids, skip_special_tokens=False) == reference.decode(
                ids, skip_special_tokens=False
            )


def phantom(token: str, special: bool) -> str:
    """Spell a token of BERT's as a converter does."""
    if special:
        return token
    return token[2:] if token.startswith("##") else f"▁{token}"


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"do_lower_case": True}, {}),
        ({"do_lower_case": False}, {"tokenizer.ggml.normalizer.lowercase": False}),
        (
            {"do_lower_case": True, "strip_accents": False},
            {"tokenizer.ggml.normalizer.strip_accents": False},
        ),
    ],
)
def test_a_wordpiece_tokenizer_gives_the_ids_and_texts_of_bert(
    options: Mapping[str, bool], flags: Mapping[str, bool]
) -> None:
    transformers = pytest.importorskip("transformers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = transformers.BertTokenizer(**options).backend_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=special, show_progress=False, continuing_subword_prefix="##"
    )
    backend.train_from_iterator(LINES, trainer)
    vocabulary = backend.get_vocab()
    reference: Reference = transformers.BertTokenizer(vocab=vocabulary, **options)
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    tokenizer = load_metadata(
        PATH,
        {
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.tokens": tuple(phantom(each, each in special) for each in tokens),
            "tokenizer.ggml.token_type": tuple(CONTROL if t in special else NORMAL for t in tokens),
            "tokenizer.ggml.padding_token_id": 0,
            "tokenizer.ggml.unknown_token_id": 1,
            "tokenizer.ggml.cls_token_id": 2,
            "tokenizer.ggml.seperator_token_id": 3,
            "tokenizer.ggml.mask_token_id": 4,
            **flags,
        },
        {},
    )
    assert tokenizer.special_tokens["cls_token"] == "[CLS]"
    for text in [*HARD, "[MASK] x [SEP]"]:
        for add in (True, False):
            ids = tokenizer.encode(text, add_special_tokens=add)
            assert ids == reference.encode(text, add_special_tokens=add), text
        assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
            ids, skip_special_tokens=True
        )


class Trained:
    """A model of the SentencePiece library's, and what a converter writes of it."""

    def __init__(self, folder: Path, **options: object) -> None:
        sentencepiece = pytest.importorskip("sentencepiece")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line.replace("\x00", "") for line in LINES),
            model_prefix=str(folder / "m"),
            vocab_size=480,
            minloglevel=5,
            hard_vocab_limit=False,
            num_threads=1,
            **options,
        )
        self.encode: Callable[[str], list[int]]
        self.decode: Callable[[list[int]], str]
        processor = sentencepiece.SentencePieceProcessor(str(folder / "m.model"))
        self.encode, self.decode = processor.encode, processor.decode
        self.pieces = read_pieces(folder / "m.model")

    def metadata(self, kind: str) -> Metadata:
        pieces = self.pieces
        return {
            "tokenizer.ggml.model": kind,
            "tokenizer.ggml.tokens": tuple(pieces.texts),
            "tokenizer.ggml.scores": tuple(pieces.scores),
            "tokenizer.ggml.token_type": tuple(pieces.kinds),
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.add_space_prefix": pieces.begins_with_space,
            "tokenizer.ggml.remove_extra_whitespaces": pieces.drops_spaces,
            "tokenizer.ggml.precompiled_charsmap": tuple(
                byte - 256 if byte > 127 else byte for byte in pieces.character_map
            ),
        }


LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}
SENTENCEPIECE: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "llama": ("llama", LLAMA),
    "gemma": ("llama", {**LLAMA, "add_dummy_prefix": False}),
    "t5": ("t5", {"model_type": "unigram"}),
    "t5, as it is": (
        "t5",
        {**LLAMA, "model_type": "unigram", "byte_fallback": False},
    ),
    "t5, no space first": ("t5", {"model_type": "unigram", "add_dummy_prefix": False}),
}


@pytest.fixture(scope="module", params=SENTENCEPIECE)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Trained]:
    kind, options = SENTENCEPIECE[request.param]
    trained = Trained(tmp_path_factory.mktemp("spm"), **options)
    return load_metadata(PATH, trained.metadata(kind), {}), trained


def test_a_sentencepiece_tokenizer_gives_the_ids_and_texts_of_the_library(
    both: tuple[Tokenizer, Trained],
) -> None:
    tokenizer, trained = both
    for text in HARD:
        text = text.replace("\x00", "")
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == trained.encode(text), text
        if 0 not in ids:  # the library writes an unknown piece as a sign of its own
            assert tokenizer.decode(ids, skip_special_tokens=False) == trained.decode(ids)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pushes=st.lists(st.lists(st.integers(0, 480), max_size=6), max_size=6),
    skip=st.booleans(),
)
def test_text_that_comes_bit_by_bit_is_that_of_the_whole(
    both: tuple[Tokenizer, Trained], pushes: list[list[int]], skip: bool
) -> None:
    tokenizer = both[0]
    whole = [token_id for ids in pushes for token_id in ids]
    stream = tokenizer.stream(skip_special_tokens=skip)
    text = "".join([stream.feed(ids) for ids in pushes]) + stream.finish()
    assert text == tokenizer.decode(whole, skip_special_tokens=skip)


def test_what_stands_around_a_text_is_as_the_kind_has_it(tmp_path: Path) -> None:
    trained = Trained(tmp_path, model_type="unigram")
    plain = trained.encode("the")
    cases: list[tuple[Metadata, list[int]]] = [
        ({}, [*plain, 2]),
        ({"tokenizer.ggml.add_eos_token": False}, plain),
        ({"tokenizer.ggml.add_bos_token": True}, [1, *plain, 2]),
    ]
    for flags, ids in cases:
        tokenizer = load_metadata(PATH, {**trained.metadata("t5"), **flags}, {})
        assert tokenizer.encode("the", add_special_tokens=True) == ids


def test_what_ends_a_turn_ends_an_output(tmp_path: Path) -> None:
    metadata = Trained(tmp_path, **LLAMA).metadata("llama")
    assert load_metadata(PATH, metadata, {}).eos_ids == {2}
    turns = {"tokenizer.ggml.eot_token_id": 7, "tokenizer.ggml.eom_token_id": 9}
    assert load_metadata(PATH, {**metadata, **turns}, {}).eos_ids == {2, 7, 9}


def test_pieces_that_merge_by_a_list_give_the_ids_of_gemma() -> None:
    transformers = pytest.importorskip("transformers")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = transformers.GemmaTokenizer().backend_tokenizer.normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[*special, *bytes_], show_progress=False
    )
    backend.train_from_iterator([line for line in LINES if "日" not in line], trainer)
    model = json.loads(backend.to_str())["model"]
    pairs = [tuple(pair) for pair in model["merges"]]
    reference: Reference = transformers.GemmaTokenizer(vocab=model["vocab"], merges=pairs)
    vocabulary: dict[str, int] = model["vocab"]
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    kinds = {**dict.fromkeys(special, CONTROL), **dict.fromkeys(bytes_, BYTE), "<unk>": UNKNOWN}
    tokenizer = load_metadata(
        PATH,
        {
            "tokenizer.ggml.model": "gemma4",
            "tokenizer.ggml.tokens": tuple(tokens),
            "tokenizer.ggml.merges": tuple(" ".join(pair) for pair in pairs),
            "tokenizer.ggml.token_type": tuple(kinds.get(each, NORMAL) for each in tokens),
            "tokenizer.ggml.bos_token_id": 2,
            "tokenizer.ggml.eos_token_id": 1,
            "tokenizer.ggml.unknown_token_id": 3,
        },
        {},
    )
    for text in HARD:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == reference.encode(text, add_special_tokens=False), text
        assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
            ids, skip_special_tokens=True
        )
