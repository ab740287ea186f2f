"""Hugging Face folders, against transformers where it is there, and broken ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.hf import load_folder, vocabulary_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a byte-level tokenizer of single bytes and three further tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "</s>", "<tool>", *alphabet]
    model = models.BPE({token: token_id for token_id, token in enumerate(tokens)}, [])
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def load(folder: Path, config: Mapping[str, object], **generation: object) -> Tokenizer:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_folder(folder, {"eos_token_id": 1}, generation)


def test_ends_of_an_output_come_from_every_file(folder: Path) -> None:
    tokenizer = load(folder, {"eos_token": "<tool>"}, eos_token_id=[7, 8])
    assert tokenizer.eos_ids == {1, 2, 7, 8}


@pytest.mark.parametrize("written", ["<s>", {"content": "<s>", "lstrip": False}])
def test_token_named_in_the_settings_is_special(folder: Path, written: object) -> None:
    tokenizer = load(folder, {"bos_token": written})
    assert tokenizer.bos_id == 0
    assert tokenizer.special_tokens == {"bos_token": "<s>"}
    assert tokenizer.encode("<s>", add_special_tokens=False) == [0]
    assert tokenizer.decode([0], skip_special_tokens=True) == ""


def test_token_listed_only_in_the_settings_is_added(folder: Path) -> None:
    size = load(folder, {}).vocab_size
    extra = {str(size): {"content": "<extra>", "special": True}}
    tokenizer = load(folder, {"added_tokens_decoder": extra})
    assert tokenizer.encode("<extra>", add_special_tokens=False) == [size]


def test_first_token_is_the_post_processors_to_add(folder: Path) -> None:
    settings = {"bos_token": "<s>", "add_bos_token": True}
    assert load(folder, settings).encode("", add_special_tokens=True) == []
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    backend.save(str(folder / "tokenizer.json"))
    assert load(folder, {}).encode("", add_special_tokens=True) == [0]
    assert load(folder, {}).encode("", add_special_tokens=False) == []


@pytest.mark.parametrize("flags", [{}, {"add_bos_token": True}, {"add_eos_token": True}])
def test_ids_are_those_of_transformers(folder: Path, flags: Mapping[str, bool]) -> None:
    transformers = pytest.importorskip("transformers")
    settings = {"bos_token": "<s>", "eos_token": "</s>", **flags}
    tokenizer = load(folder, {"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ("", "a b", "<s>a</s> <tool>", "é🙂"):
        ids = tokenizer.encode(text, add_special_tokens=True)
        assert ids == reference.encode(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
            ids, skip_special_tokens=True
        )


def test_template_file_goes_before_the_settings(folder: Path) -> None:
    assert load(folder, {}).chat_templates == {}
    assert load(folder, {"chat_template": "one"}).chat_templates == {"default": "one"}
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}]
    both = {"tool_use": "x", "default": "two"}
    assert load(folder, {"chat_template": named}).chat_templates == both
    (folder / "chat_template.jinja").write_text("three")
    assert load(folder, {"chat_template": named}).chat_templates == {"default": "three"}
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("four")
    both = {"default": "three", "rag": "four"}
    assert load(folder, {"chat_template": named}).chat_templates == both
    transformers = pytest.importorskip("transformers")
    assert transformers.PreTrainedTokenizerFast.from_pretrained(folder).chat_template == both


def test_template_of_a_processor_is_read_where_the_tokenizer_has_none(folder: Path) -> None:
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "five"}))
    assert load(folder, {}).chat_templates == {"default": "five"}
    assert load(folder, {"chat_template": "one"}).chat_templates == {"default": "one"}


def test_folder_without_tokenizer_is_refused_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json.*save_pretrained"):
        load_folder(tmp_path, {}, {})


@pytest.mark.parametrize("names", [["vocab.json", "merges.txt"], ["vocab.txt"]])
def test_slow_files_are_named_and_the_way_to_convert_them(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    said = rf"It has {', '.join(names)}, which do not say how text is cut.*save_pretrained"
    for look in (vocabulary_of, lambda folder: load_folder(folder, {}, {})):
        with pytest.raises(ModelError, match=said):
            look(tmp_path)


def test_broken_files_are_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer_config\.json is no JSON"):
        load_folder(folder, {}, {})
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json is no tokenizer"):
        load_folder(folder, {}, {})


def test_what_a_settings_file_or_a_config_says_in_wrong_words_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="'added_tokens_decoder' has the key 'x', which is no tok"):
        load(folder, {"added_tokens_decoder": {"x": {"content": "<x>"}}})
    for wrong in ("</s>", ["</s>"], 1.5):
        with pytest.raises(ModelError, match="'eos_token_id' has to be an id or a list"):
            load(folder, {}, eos_token_id=wrong)
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"chat_template\.jinja is no text in UTF-8"):
        load(folder, {})


def test_templates_may_be_named_in_a_list_or_in_an_object(folder: Path) -> None:
    named = {"default": "one", "rag": "two"}
    listed = [{"name": name, "template": text} for name, text in named.items()]
    assert load(folder, {"chat_template": listed}).chat_templates == named
    assert load(folder, {"chat_template": named}).chat_templates == named


def test_older_files_beside_the_settings_are_read(folder: Path) -> None:
    size = load(folder, {}).vocab_size
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": size, "<y>": size + 1}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<x>"}))
    tokenizer = load(folder, {"bos_token": "<s>"})
    assert tokenizer.special_tokens == {"bos_token": "<s>", "pad_token": "<x>"}
    assert tokenizer.encode("<x><y>", add_special_tokens=False) == [size, size + 1]
    assert tokenizer.decode([size, size + 1], skip_special_tokens=True) == "<y>"


@pytest.mark.parametrize(
    "settings",
    [
        {"additional_special_tokens": ["<x>", "<tool>"]},
        {"extra_special_tokens": [{"content": "<x>", "__type": "AddedToken", "special": True}]},
        {"extra_special_tokens": {"image_token": "<x>"}},
        {"image_token": "<tool>"},
    ],
)
def test_further_special_tokens_are_those_of_transformers(
    folder: Path, settings: Mapping[str, object]
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = load(folder, {"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    assert dict(tokenizer.special_tokens) == reference.special_tokens_map
    for text in ("<x>a<tool>", "a"):
        ids = tokenizer.encode(text, add_special_tokens=True)
        assert ids == reference.encode(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
            ids, skip_special_tokens=True
        )
