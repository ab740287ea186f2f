"""Tekken files, against transformers' own reading of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.hf import load_folder

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = ["th", "the", " the", "he", " f", "ox", " fox", "aa", "aaa", "12", "\n\n", "é", "日", "ab"]
TOKENS = [*(bytes([byte]) for byte in range(256)), *(word.encode() for word in WORDS)]
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>"]
NUM_SPECIAL = 10
Json = dict[str, object]


def tekken(**change: object) -> Json:
    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(TOKENS) + 1,
            "default_vocab_size": len(TOKENS) + NUM_SPECIAL,
            "default_num_special_tokens": NUM_SPECIAL,
            "version": "v13",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for rank, token in enumerate([*TOKENS, b"more than the model has"])
        ],
        "special_tokens": [
            {"rank": rank, "token_str": token, "is_control": True}
            for rank, token in enumerate(SPECIAL)
        ],
        **change,
    }


def load(folder: Path, found: Mapping[str, object]) -> Tokenizer:
    (folder / "tekken.json").write_text(json.dumps(found))
    return load_folder(folder, {}, {})


class Reference(Protocol):
    def encode(self, text: str) -> Encoded: ...

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str: ...


class Encoded(Protocol):
    ids: list[int]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Reference]:
    mistral = pytest.importorskip("transformers.integrations.mistral.tokenizer")
    folder = tmp_path_factory.mktemp("tekken")
    tokenizer = load(folder, tekken())
    reference: Reference = mistral.MistralConverter(str(folder / "tekken.json")).converted()
    return tokenizer, reference


PARTS = [
    "the",
    " fox",
    "é",
    "日",
    "🙂",
    "e\u0301",
    "12",
    "\n\n",
    "aaaa",
    "FooBar",
    "[INST]",
    "<s>",
    "x",
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(st.sampled_from(PARTS), max_size=9).map("".join) | st.text(max_size=12))
def test_ids_and_text_are_those_of_transformers(
    both: tuple[Tokenizer, Reference], text: str
) -> None:
    tokenizer, reference = both
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == reference.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == reference.decode(
        ids, skip_special_tokens=True
    )


def test_special_tokens_come_first_and_a_text_begins_with_one(tmp_path: Path) -> None:
    tokenizer = load(tmp_path, tekken())
    assert tokenizer.encode("the", add_special_tokens=True) == [1, 10 + TOKENS.index(b"the")]
    assert [tokenizer.token_text(each) for each in (3, 5, 6, 9)] == [
        "[INST]",
        "<pad>",
        "<SPECIAL_6>",
        "<SPECIAL_9>",
    ]
    assert tokenizer.vocab_size == len(TOKENS) + NUM_SPECIAL
    assert tokenizer.bos_id == 1
    assert tokenizer.eos_ids == {2}
    assert tokenizer.special_tokens["pad_token"] == "<pad>"


def test_special_tokens_that_an_older_file_does_not_list_are_known(tmp_path: Path) -> None:
    config = {**tekken()["config"], "version": "v3", "default_num_special_tokens": 21}  # type: ignore[dict-item]
    found = {**tekken(config={**config, "default_vocab_size": len(TOKENS) + 21})}
    del found["special_tokens"]
    tokenizer = load(tmp_path, found)
    assert tokenizer.encode("[SYSTEM_PROMPT]", add_special_tokens=False) == [17]
    assert tokenizer.token_text(20) == "<SPECIAL_20>"


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"config": {}}, r"no tekken file \(KeyError"),
        ({"config": []}, "no tekken file"),
        ({"vocab": [{"token_bytes": "!"}]}, "no tekken file"),
        ({"vocab": tekken()["vocab"][:200]}, "of 270 tokens it has 200"),  # type: ignore[index]
        ({"special_tokens": {}}, "'special_tokens' is no list"),
        ({"special_tokens": None}, r"\(version v13\) lists no special tokens"),
    ],
)
def test_file_that_cannot_be_used_is_refused(
    tmp_path: Path, change: Mapping[str, object], fact: str
) -> None:
    with pytest.raises(ModelError, match=fact):
        load(tmp_path, tekken(**change))
