"""Text of outputs: whole characters, stop strings across tokens, and nothing lost or added."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from octavo.detokenize import Detokenizer, TextDelta
from octavo.tokenizer import Tokenizer

CORPUS = [
    "the end of the story, then the other end",
    "naïve 日本語 🙂🙂 ünïcödé 日本",
    "aab aaab abab",
]


def trained() -> Tokenizer:
    """Train a byte-level vocabulary of every byte and some merges, within characters too."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>"],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 4, trainer)
    return Tokenizer(backend, special_tokens={"eos_token": "<|end|>"})


TOKENIZER = trained()
TEXT = st.text() | st.text("ab 日🙂é", max_size=60) | st.sampled_from(CORPUS)
STOPS = st.lists(st.text("ab 日🙂é", min_size=1, max_size=6), max_size=4)
CUTS = st.lists(st.integers(0, 5), min_size=1, max_size=30)


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def in_pushes(token_ids: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
    """Cut ids into pushes of these sizes, over and over; some are empty."""
    pushes: list[Sequence[int]] = []
    start = turn = 0
    while start < len(token_ids):
        size = sizes[turn % len(sizes)] if turn < 2 * len(sizes) else 1
        pushes.append(token_ids[start : start + size])
        start, turn = start + size, turn + 1
    return pushes


def expected_text(text: str, stop: Sequence[str], include_stop: bool) -> tuple[str, str | None]:
    """Look at every prefix in turn: the first that ends in a stop string ends the text."""
    for end in range(1, len(text) + 1):
        found = [word for word in stop if text[:end].endswith(word)]
        if found:
            word = max(found, key=len)
            return text[: end if include_stop else end - len(word)], word
    return text, None


@settings(max_examples=300, deadline=None)
@given(TEXT, CUTS, STOPS, st.booleans())
def test_text_is_the_whole_up_to_the_first_stop_string(
    text: str, cuts: list[int], stop: list[str], include_stop: bool
) -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=stop, include_stop=include_stop)
    deltas = [detokenizer.push(ids) for ids in in_pushes(encode(text), cuts)]
    got = "".join(delta.text for delta in deltas) + detokenizer.finish()
    assert (got, detokenizer.stopped_by) == expected_text(text, stop, include_stop)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 319), max_size=50), CUTS)
def test_random_tokens_give_the_text_of_decoding_them_all(ids: list[int], cuts: list[int]) -> None:
    detokenizer = Detokenizer(TOKENIZER, skip_special_tokens=False)
    got = "".join(detokenizer.push(push).text for push in in_pushes(ids, cuts))
    assert got + detokenizer.finish() == TOKENIZER.decode(ids, skip_special_tokens=False)


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_no_delta_ends_within_a_character(text: str) -> None:
    detokenizer = Detokenizer(TOKENIZER)
    for token_id in encode(text.replace("\N{REPLACEMENT CHARACTER}", "")):
        assert "\N{REPLACEMENT CHARACTER}" not in detokenizer.push([token_id]).text


def test_what_may_become_a_stop_string_is_held_until_it_is_decided() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["aab"])
    pieces = [detokenizer.push(encode(character)).text for character in "xaaacaab"]
    assert pieces == ["x", "", "", "a", "aac", "", "", ""]
    assert detokenizer.stopped_by == "aab"


def test_text_after_the_stop_string_is_never_given() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["end"])
    assert detokenizer.push(encode("the end of")) == TextDelta("the ", "end")
    assert detokenizer.push(encode("the story")) == TextDelta("", "end")
    assert detokenizer.finish() == ""


def test_stop_string_in_the_prompt_does_not_stop_the_output() -> None:
    detokenizer = Detokenizer(TOKENIZER, encode("the en"), stop=["end", "the"])
    assert detokenizer.push(encode("d")) == TextDelta("d", None)


def test_special_tokens_are_text_only_if_asked_for() -> None:
    ids = [*encode("a"), 0]
    shown = Detokenizer(TOKENIZER, skip_special_tokens=False)
    hidden = Detokenizer(TOKENIZER)
    assert (shown.push(ids).text, hidden.push(ids).text) == ("a<|end|>", "a")


def test_unfinished_character_at_the_end_is_a_replacement() -> None:
    detokenizer = Detokenizer(TOKENIZER)
    first_byte = TOKENIZER.token_id("Ã")
    assert first_byte is not None
    assert detokenizer.push([first_byte]).text == ""
    assert detokenizer.finish() == "\N{REPLACEMENT CHARACTER}"


def test_held_text_is_given_when_the_output_ends() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["ending"])
    assert detokenizer.push(encode("the end")).text == "the "
    assert detokenizer.finish() == "end"


def test_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        Detokenizer(TOKENIZER, stop=["a", ""])
