"""Texts of encoders: what stands around one and around a pair, and what is cut off long ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from octavo.tokenizer import Tokenizer
from octavo.tokenizer.hf import load_folder

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat ##s sat on mat".split()
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    """Give a WordPiece tokenizer from a folder, as BERT's are, but for its few words."""
    vocab = {word: index for index, word in enumerate(WORDS)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    backend.decoder = decoders.WordPiece()
    backend.enable_truncation(4)
    backend.enable_padding(length=512)
    (tmp_path / "tokenizer.json").write_text(backend.to_str())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"cls_token": "[CLS]"}))
    return load_folder(tmp_path, {}, {})


def words(tokenizer: Tokenizer, ids: list[int]) -> str:
    return " ".join(tokenizer.token_text(each) or "?" for each in ids)


def test_a_text_gets_what_stands_around_it_and_no_padding(tokenizer: Tokenizer) -> None:
    ids, segments = tokenizer.encode_segments("The CATS sat on the mat")
    assert words(tokenizer, ids) == "[CLS] the cat ##s sat on the mat [SEP]"
    assert segments == [0] * 9
    assert tokenizer.encode("The CATS sat on the mat", add_special_tokens=True) == ids


def test_a_pair_is_two_segments(tokenizer: Tokenizer) -> None:
    ids, segments = tokenizer.encode_segments("the cat", "sat on mat")
    assert words(tokenizer, ids) == "[CLS] the cat [SEP] sat on mat [SEP]"
    assert segments == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (9, "[CLS] the cat ##s sat on the mat [SEP]"),
        (5, "[CLS] the cat ##s [SEP]"),
        (3, "[CLS] the [SEP]"),
    ],
)
def test_a_long_text_loses_its_end_and_keeps_what_stands_around_it(
    most: int, kept: str, tokenizer: Tokenizer
) -> None:
    ids, segments = tokenizer.encode_segments("The cats sat on the mat", max_tokens=most)
    assert words(tokenizer, ids) == kept
    assert len(segments) == len(ids)


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (20, "[CLS] the cat [SEP] the cat ##s sat on mat [SEP]"),
        (8, "[CLS] the cat [SEP] the cat ##s [SEP]"),
        (7, "[CLS] the cat [SEP] the cat [SEP]"),
        (5, "[CLS] the [SEP] the [SEP]"),
    ],
)
def test_the_longer_text_of_a_pair_loses_its_end_first(
    most: int, kept: str, tokenizer: Tokenizer
) -> None:
    ids, _ = tokenizer.encode_segments("the cat", "the cats sat on mat", max_tokens=most)
    assert words(tokenizer, ids) == kept
    turned, _ = tokenizer.encode_segments("the cats sat on mat", "the cat", max_tokens=most)
    assert len(turned) == len(ids)


def test_too_little_room_for_any_text_is_refused_with_the_numbers(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="2 tokens are too few for a text: 2 stand around it"):
        tokenizer.encode_segments("the cat", max_tokens=2)
    with pytest.raises(ValueError, match="4 tokens are too few"):
        tokenizer.encode_segments("the cat", "sat", max_tokens=4)
