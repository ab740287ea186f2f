"""SentencePiece models, against the SentencePiece library on models that it trained."""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.hf import load_folder
from octavo.tokenizer.spm import BYTE, NORMAL, scored_bpe

LINES = [
    *(f"the quick brown fox number {number} jumps over the lazy dog" for number in range(150)),
    "  two  spaces   and 12345",
    "naïve café Ünïcödé ﬁ ½",
    "日本語 テキスト",
    "Tiếng Việt: ệ ộ ữ ằ ṩ ǟ",
    "def f(x):\n    return x",
] * 3


class Reference(Protocol):
    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


def trained(folder: Path, **options: object) -> tuple[Path, Reference]:
    """Train a model of the library's own and give it, with the library's processor of it."""
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=420,
        minloglevel=5,
        hard_vocab_limit=False,
        num_threads=1,
        **options,
    )
    processor: Reference = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    return folder, processor


LLAMA = {"byte_fallback": True, "normalization_rule_name": "identity"}
KINDS: Mapping[str, Mapping[str, object]] = {
    "llama": {**LLAMA, "model_type": "bpe", "remove_extra_whitespaces": False},
    "gemma": {
        **LLAMA,
        "model_type": "bpe",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
    },
    "bpe with a map": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc"},
    "unigram": {"model_type": "unigram"},
    "unigram with bytes": {"model_type": "unigram", **LLAMA},
}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Reference]:
    folder, reference = trained(tmp_path_factory.mktemp("spm"), **request.param)
    return load_folder(folder, {}, {}), reference


# What spells a piece that is not text is found by us in text, and by the library never.
TEXTS = st.one_of(
    st.lists(
        st.sampled_from(["the", " ", "fox", "  ", "é", "日本", "🙂", "x9", "\n", "ﬁ", "½", "."]),
        max_size=12,
    ).map("".join),
    st.text(st.characters(exclude_characters="<>▁", exclude_categories=["Cs", "Cc"]), max_size=12),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
def test_ids_and_text_are_those_of_the_library(
    both: tuple[Tokenizer, Reference], text: str
) -> None:
    tokenizer, reference = both
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == reference.encode(text)
    if 0 not in ids:  # the library writes an unknown piece as a sign of its own
        assert tokenizer.decode(ids, skip_special_tokens=False) == reference.decode(ids)


def test_letters_with_several_marks_are_those_of_the_library(tmp_path: Path) -> None:
    folder, reference = trained(tmp_path, model_type="unigram", character_coverage=1.0)
    tokenizer = load_folder(folder, {}, {})
    for code in range(0xC0, 0x2000):
        text = f"x{unicodedata.normalize('NFD', chr(code))} e\u0323\u0302"
        assert tokenizer.encode(text, add_special_tokens=False) == reference.encode(text), text


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def part(number: int, value: int | float | bytes) -> bytes:
    """Write one field of a protocol buffer."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def written(pieces: Mapping[str, float], *, trainer: bytes = b"", normaliser: bytes = b"") -> bytes:
    special = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    marked = [part(1, text.encode()) + part(2, 0.0) + part(3, kind) for text, kind in special]
    plain = [part(1, text.encode()) + part(2, score) for text, score in pieces.items()]
    body = b"".join(part(1, piece) for piece in (*marked, *plain))
    return body + part(2, part(3, 2) + trainer) + part(3, part(4, 0) + normaliser)


PIECES = {"ab": -1.0, "▁a": -2.0, "▁ab": -3.0, "▁": -9.0, "a": -9.1, "b": -9.2}


def load(folder: Path, **config: object) -> Tokenizer:
    (folder / "tokenizer.model").write_bytes(written(PIECES))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_folder(folder, {}, {})


def texts(tokenizer: Tokenizer, text: str) -> list[str | None]:
    return [tokenizer.token_text(each) for each in tokenizer.encode(text, add_special_tokens=True)]


def test_special_tokens_are_the_models_own_unless_the_settings_name_others(tmp_path: Path) -> None:
    tokenizer = load(tmp_path)
    assert tokenizer.special_tokens == {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    assert tokenizer.eos_ids == {2}
    assert load(tmp_path, eos_token="<s>").eos_ids == {1}


def test_settings_say_what_surrounds_a_text(tmp_path: Path) -> None:
    assert texts(load(tmp_path), "ab") == ["<s>", "▁ab"]
    assert texts(load(tmp_path, add_bos_token=False), "ab") == ["▁ab"]
    assert texts(load(tmp_path, add_eos_token=True), "ab") == ["<s>", "▁ab", "</s>"]


def test_settings_say_where_a_space_is_put(tmp_path: Path) -> None:
    text = "ab</s>ab"
    assert texts(load(tmp_path), text)[1:] == ["▁ab", "</s>", "▁ab"]
    assert texts(load(tmp_path, legacy=False), text)[1:] == ["▁ab", "</s>", "ab"]
    assert texts(load(tmp_path, add_prefix_space=False), text)[1:] == ["ab", "</s>", "ab"]


@pytest.mark.parametrize("legacy", [True, False])
def test_ids_are_those_of_transformers(tmp_path: Path, legacy: bool) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = load(tmp_path, legacy=legacy, add_bos_token=True)
    vocabulary = {tokenizer.token_text(each): each for each in range(tokenizer.vocab_size)}
    merges = [("a", "b"), ("▁", "a"), ("▁", "ab"), ("▁a", "b")]
    reference = transformers.LlamaTokenizer(
        vocab=vocabulary, merges=merges, legacy=legacy, add_bos_token=True
    )
    # With `legacy` a space that is there already has another put before it, as in the library;
    # transformers 5 puts none.
    spaced = [] if legacy else [" ab", "</s> ab"]
    for text in ("ab", "", "a b", "ab</s>ab", "<s><s>b", *spaced):
        ids = tokenizer.encode(text, add_special_tokens=True)
        assert ids == reference.encode(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
            ids, skip_special_tokens=True
        )


def test_text_that_spells_a_byte_is_not_that_byte() -> None:
    texts = ["<", "A", ">", "<A", "<A>"]
    for kind, number in ((BYTE, 2), (NORMAL, 1)):
        kinds = [NORMAL] * 4 + [kind]
        scores = [0.0, 0.0, 0.0, -1.0, -2.0]
        model = scored_bpe(texts, scores, kinds, unknown=None, has_bytes=False)
        assert len(model.tokenize("<A>")) == number


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (written(PIECES)[:-3], "ends too early"),
        (b"\n\x80", "is no SentencePiece model"),
        (b"\n\x02\x0b\x0c", "a field of the kind 3"),
        (part(1, part(1, b"\xff")), "is no SentencePiece model"),
        (written(PIECES, trainer=part(3, 3)), "the algorithm 3; known are 1"),
        (written(PIECES) + part(3, part(2, b"no map")), "its map of characters is broken"),
    ],
)
def test_file_that_is_no_model_is_refused(tmp_path: Path, data: bytes, fact: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(ModelError, match=fact):
        load_folder(tmp_path, {}, {})
