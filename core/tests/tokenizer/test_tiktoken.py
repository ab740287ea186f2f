"""Tiktoken files, against the algorithm itself: the adjacent pair of the lowest rank goes first."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.tokenizer.hf import load_folder

WORDS = [
    b"th",
    b"the",
    b" the",
    b"he",
    b" f",
    b"ox",
    b" fox",
    b"aa",
    b"aaa",
    b"12",
    b"123",
    b"1234",
]
WORDS += ["é".encode(), "日".encode(), b"\n\n", b"  ", b"'s", b"bab", b"ab", b"abab"]
RANKS = {token: rank for rank, token in enumerate([*(bytes([b]) for b in range(256)), *WORDS])}


def written(ranks: Mapping[bytes, int]) -> bytes:
    return b"".join(b"%s %d\n" % (base64.b64encode(t), rank) for t, rank in ranks.items())


def load(folder: Path, name: str, data: bytes, **config: object) -> Tokenizer:
    (folder / name).write_bytes(data)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_folder(folder, {}, {})


def ranked(word: bytes) -> list[int]:
    """Cut a word as tiktoken does."""
    if word in RANKS:
        return [RANKS[word]]
    parts = [bytes([byte]) for byte in word]
    while True:
        joined = [left + right for left, right in itertools.pairwise(parts)]
        pairs = [(RANKS.get(pair, 10**9), at) for at, pair in enumerate(joined)]
        rank, at = min(pairs, default=(10**9, 0))
        if rank == 10**9:
            return [RANKS[part] for part in parts]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(word=st.lists(st.sampled_from([*"thefoxab", "é", "日", "ab", "🙂"]), min_size=1, max_size=9))
def test_word_is_cut_as_ranks_say(tmp_path: Path, word: list[str]) -> None:
    text = "".join(word).replace("🙂", "z")
    tokenizer = load(tmp_path, "cl100k_base.tiktoken", written(RANKS))
    assert tokenizer.encode(text, add_special_tokens=False) == ranked(text.encode())
    assert tokenizer.decode(ranked(text.encode()), skip_special_tokens=False) == text


def cut(tokenizer: Tokenizer, text: str) -> list[str]:
    ids = tokenizer.encode(text, add_special_tokens=False)
    return [tokenizer.decode([each], skip_special_tokens=False) for each in ids]


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("gpt2.tiktoken", ["aaa", "1234"]),
        ("cl100k_base.tiktoken", ["aaa", "123", "4"]),
        ("o200k_base.tiktoken", ["aaa", "123", "4"]),
        ("tokenizer.model", ["aaa", "123", "4"]),
        ("qwen.tiktoken", ["aaa", "1", "2", "3", "4"]),
    ],
)
def test_name_of_the_file_decides_how_digits_are_cut(
    tmp_path: Path, name: str, pieces: list[str]
) -> None:
    assert cut(load(tmp_path, name, written(RANKS)), "aaa1234") == pieces


def test_special_tokens_are_those_of_the_settings(tmp_path: Path) -> None:
    size = len(RANKS)
    added = {str(size): {"content": "<|begin|>", "special": True}}
    config = {"added_tokens_decoder": added, "bos_token": "<|begin|>"}
    tokenizer = load(tmp_path, "tokenizer.model", written(RANKS), **config)
    assert tokenizer.encode("<|begin|>the", add_special_tokens=True) == [size, RANKS[b"the"]]
    assert tokenizer.bos_id == size
    assert tokenizer.decode([size], skip_special_tokens=True) == ""
    tokenizer = load(tmp_path, "tokenizer.model", written(RANKS), **config, add_bos_token=True)
    assert tokenizer.encode("the", add_special_tokens=True) == [size, RANKS[b"the"]]


@pytest.mark.parametrize(
    ("name", "data", "fact"),
    [
        ("tiktoken.model", written(RANKS), "no rule is known for its name; known are gpt2"),
        ("qwen.tiktoken", written(RANKS) + b"?? 9\n", f"line {len(RANKS) + 1} is not a token"),
        ("qwen.tiktoken", written({b"a": 0}), "255 single bytes are missing"),
        ("qwen.tiktoken", written({**RANKS, b"zz": 9}), "ranks do not count from 0"),
    ],
)
def test_file_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, data: bytes, fact: str
) -> None:
    with pytest.raises(ModelError, match=fact):
        load(tmp_path, name, data)
