"""Bare vocabularies, against transformers' own reading of such a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.hf import load_folder, vocabulary_of

TEXTS = [
    "",
    "Hello world's 12345  two\n\n spaces ",
    "naïve e\u0301 日本語 👩\u200d👧 \x00",
    "</s>the<pad> [MASK] x",
    "İstanbul ÀÉ ﬁ",
]
END: Mapping[str, object] = {
    **dict.fromkeys(("bos_token", "eos_token", "unk_token"), "</s>"),
    "pad_token": "<pad>",
}


def byte_level(folder: Path) -> None:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["</s>", "<pad>"],
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    model = json.loads(backend.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"]), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")


def word_piece(folder: Path) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    backend.train_from_iterator(TEXTS * 3, trainer)
    ids = backend.get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(ids, key=lambda token: ids[token])) + "\n")


class Reference(Protocol):
    def encode(self, text: str, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: list[int], skip_special_tokens: bool) -> str: ...


def both(folder: Path, settings: Mapping[str, object]) -> tuple[Tokenizer, Reference]:
    transformers = pytest.importorskip("transformers")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    kind = getattr(transformers, str(settings["tokenizer_class"]))
    reference: Reference = kind.from_pretrained(folder)
    return load_folder(folder, {}, {}), reference


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer_class": "GPT2Tokenizer", **END},
        {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, **END},
        {"tokenizer_class": "CodeGenTokenizer", **END},
        {"tokenizer_class": "Qwen2Tokenizer", **END},
    ],
)
def test_byte_pairs_give_the_ids_and_texts_of_transformers(
    tmp_path: Path, settings: Mapping[str, object]
) -> None:
    byte_level(tmp_path)
    tokenizer, reference = both(tmp_path, settings)
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == reference.encode(text, add_special_tokens=False), text
        assert tokenizer.decode(ids, skip_special_tokens=False) == reference.decode(
            ids, skip_special_tokens=False
        )


def test_a_first_token_is_put_where_the_settings_ask_for_it(tmp_path: Path) -> None:
    byte_level(tmp_path)  # as OPT
    tokenizer, _ = both(
        tmp_path, {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, **END}
    )
    end = tokenizer.bos_id
    assert tokenizer.encode("a", add_special_tokens=True)[0] == end
    assert tokenizer.encode("a", add_special_tokens=False)[0] != end
    assert tokenizer.eos_ids == {end}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"tokenizer_class": "DistilBertTokenizer"},
    ],
)
def test_word_pieces_give_the_ids_and_texts_of_transformers(
    tmp_path: Path, settings: Mapping[str, object]
) -> None:
    word_piece(tmp_path)
    tokenizer, reference = both(tmp_path, {"tokenizer_class": "BertTokenizer", **settings})
    assert tokenizer.special_tokens["mask_token"] == "[MASK]"
    for text in TEXTS:
        for add in (True, False):
            ids = tokenizer.encode(text, add_special_tokens=add)
            assert ids == reference.encode(text, add_special_tokens=add), text
        assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
            ids, skip_special_tokens=True
        )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("LlamaTokenizer", "name the class LlamaTokenizer; known are GPT2Tokenizer, CodeGen"),
        (None, "name the class None"),
        ("BertTokenizer", r"It has vocab\.json, merges\.txt, which do not say"),
    ],
)
def test_a_class_that_is_not_known_is_refused_by_name(
    tmp_path: Path, kind: str | None, said: str
) -> None:
    byte_level(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    with pytest.raises(ModelError, match=said):
        vocabulary_of(tmp_path)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    byte_level(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(ModelError, match=r"vocab\.json is no vocabulary"):
        load_folder(tmp_path, {}, {})
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ModelError, match=r"vocab\.txt lacks \[UNK\], \[CLS\]"):
        load_folder(tmp_path, {}, {})
