"""Text of outputs: whole characters, stop strings across tokens, and nothing lost or added."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from octavo.detokenize import Detokenizer
from octavo.tokenizer import Tokenizer

CORPUS = [
    "the end of the story, then the other end",
    "naïve 日本語 🙂🙂 ünïcödé 日本",
    "aab aaab abab",
]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


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


def sentencepiece() -> Tokenizer:
    """Train what Llama 2 has: a space before the text, pieces, and bytes where there is none."""
    spaces = normalizers.Replace(" ", "▁")
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    pupil = tokenizers.Tokenizer(models.BPE())
    pupil.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=80,
        special_tokens=["<unk>"],
        limit_alphabet=20,  # the rarer characters have to be bytes
        show_progress=False,
    )
    pupil.train_from_iterator(CORPUS * 4, trainer)
    learned = json.loads(pupil.to_str())["model"]
    every = dict.fromkeys([*learned["vocab"], *BYTE_TOKENS])
    model = models.BPE(
        {token: token_id for token_id, token in enumerate(every)},
        [(left, right) for left, right in learned["merges"]],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizer
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens(["<unk>"])
    return Tokenizer(backend)


def unigram() -> Tokenizer:
    """Train what T5 has: scored pieces, Metaspace."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(CORPUS * 4, trainer)
    return Tokenizer(backend)


def word_pieces() -> Tokenizer:
    """Train what BERT has."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=80, special_tokens=["[UNK]"], show_progress=False
    )
    backend.train_from_iterator([*CORPUS, "it's, don't. do not!"] * 4, trainer)
    return Tokenizer(backend)


TOKENIZER = trained()
TOKENIZERS = [TOKENIZER, sentencepiece(), unigram(), word_pieces()]
ANY_TOKENIZER = st.sampled_from(TOKENIZERS)
TEXT = st.text() | st.text("ab 日🙂é", max_size=60) | st.sampled_from(CORPUS)
STOPS = st.lists(st.text("ab 日🙂é", min_size=1, max_size=6), max_size=4)
CUTS = st.lists(st.integers(0, 5), min_size=1, max_size=30)
IDS = st.lists(st.integers(0, 345), max_size=50)
SLICES = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), max_size=8)


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


def expected_text(
    text: str, stop: Sequence[str], include_stop: bool, num_early: int = 0
) -> tuple[str, str | None]:
    """Look at every prefix in turn: the first that ends in a stop string ends the text.

    Units: `num_early` characters cannot end it.
    """
    for end in range(num_early + 1, len(text) + 1):
        found = [word for word in stop if text[:end].endswith(word)]
        if found:
            word = max(found, key=len)
            return text[: end if include_stop else end - len(word)], word
    return text, None


def num_held(text: str, stop: Sequence[str]) -> int:
    """Count the characters at a text's end that may yet become a stop string."""
    begun = [word[:size] for word in stop for size in range(1, len(word))]
    return max((len(each) for each in begun if text.endswith(each)), default=0)


@settings(max_examples=400, deadline=None)
@given(ANY_TOKENIZER, TEXT, CUTS, STOPS, st.booleans())
def test_text_is_the_whole_up_to_the_first_stop_string(
    tokenizer: Tokenizer, text: str, cuts: list[int], stop: list[str], include_stop: bool
) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    for sizes in (cuts, [1]):
        detokenizer = Detokenizer(tokenizer, stop=stop, include_stop=include_stop)
        got = "".join([detokenizer.push(push) for push in in_pushes(ids, sizes)])
        got += detokenizer.finish()
        assert (got, detokenizer.stopped_by) == expected_text(whole, stop, include_stop)


@settings(max_examples=300, deadline=None)
@given(ANY_TOKENIZER, IDS, CUTS, st.booleans(), st.data())
def test_random_tokens_with_stop_strings_out_of_their_own_text(
    tokenizer: Tokenizer, ids: list[int], cuts: list[int], include_stop: bool, data: st.DataObject
) -> None:
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    places = st.tuples(st.integers(0, len(whole)), st.integers(1, 8))
    drawn = data.draw(st.lists(places, max_size=3))
    stop = [whole[start : start + size] for start, size in drawn if start < len(whole)]
    detokenizer = Detokenizer(
        tokenizer, stop=stop, include_stop=include_stop, skip_special_tokens=False
    )
    got = "".join([detokenizer.push(push) for push in in_pushes(ids, cuts)])
    got += detokenizer.finish()
    assert (got, detokenizer.stopped_by) == expected_text(whole, stop, include_stop)


@settings(max_examples=200, deadline=None)
@given(ANY_TOKENIZER, TEXT, STOPS)
def test_no_more_is_held_than_may_become_a_stop_string(
    tokenizer: Tokenizer, text: str, stop: list[str]
) -> None:
    stream = tokenizer.stream(skip_special_tokens=True)
    detokenizer = Detokenizer(tokenizer, stop=stop)
    made = shown = ""
    for token_id in tokenizer.encode(text, add_special_tokens=False):
        made += stream.feed([token_id])
        shown += detokenizer.push([token_id])
        if detokenizer.stopped_by is not None:
            break
        assert shown == made[: len(made) - num_held(made, stop)]


@settings(max_examples=200, deadline=None)
@given(ANY_TOKENIZER, TEXT, CUTS, STOPS, st.integers(0, 12))
def test_stop_string_within_the_first_tokens_ends_nothing(
    tokenizer: Tokenizer, text: str, cuts: list[int], stop: list[str], min_tokens: int
) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    early = tokenizer.stream(skip_special_tokens=True).feed(ids[:min_tokens])
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    for sizes in (cuts, [1]):
        detokenizer = Detokenizer(tokenizer, stop=stop, min_tokens=min_tokens)
        got = "".join([detokenizer.push(push) for push in in_pushes(ids, sizes)])
        got += detokenizer.finish()
        assert (got, detokenizer.stopped_by) == expected_text(whole, stop, False, len(early))


@settings(max_examples=200, deadline=None)
@given(st.text("ab", min_size=2, max_size=9), SLICES, CUTS, st.integers(0, 9))
@example("aabaaaa", [(0, 6), (2, 7)], [1], 0)
def test_stop_string_that_repeats_itself_is_found_among_its_own_parts(
    stop: str, slices: list[tuple[int, int]], cuts: list[int], min_tokens: int
) -> None:
    text = "".join([stop[start:end] for start, end in slices])
    ids = [token_id for character in text for token_id in encode(character)]
    detokenizer = Detokenizer(TOKENIZER, stop=[stop], min_tokens=min_tokens)
    got = "".join([detokenizer.push(push) for push in in_pushes(ids, cuts)])
    got += detokenizer.finish()
    assert (got, detokenizer.stopped_by) == expected_text(text, [stop], False, min_tokens)


@settings(max_examples=100, deadline=None)
@given(ANY_TOKENIZER, IDS)
def test_tokens_on_the_quick_road_give_the_text_of_decoding_them_all(
    tokenizer: Tokenizer, ids: list[int]
) -> None:
    detokenizer = Detokenizer(tokenizer)
    got = ""
    for token_id in ids:
        plain = detokenizer.text_of[token_id] if detokenizer.is_plain else None
        got += detokenizer.push([token_id]) if plain is None else plain
    assert got + detokenizer.finish() == tokenizer.decode(ids, skip_special_tokens=True)


def test_most_tokens_of_plain_text_take_the_quick_road() -> None:
    detokenizer = Detokenizer(TOKENIZER)
    ids = encode(CORPUS[0])
    assert all(detokenizer.is_plain and detokenizer.text_of[each] is not None for each in ids)


def test_stop_strings_close_the_quick_road() -> None:
    assert not Detokenizer(TOKENIZER, stop=["x"]).is_plain


def test_what_may_become_a_stop_string_is_held_until_it_is_decided() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["aab"])
    pieces = [detokenizer.push(encode(character)) for character in "xaaacaab"]
    assert pieces == ["x", "", "", "a", "aac", "", "", ""]
    assert detokenizer.stopped_by == "aab"


def test_text_after_the_stop_string_is_never_given() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["end"])
    assert (detokenizer.push(encode("the end of")), detokenizer.stopped_by) == ("the ", "end")
    assert (detokenizer.push(encode("the story")), detokenizer.stopped_by) == ("", "end")
    assert detokenizer.finish() == ""


def test_stop_string_in_the_prompt_does_not_stop_the_output() -> None:
    detokenizer = Detokenizer(TOKENIZER, encode("the en"), stop=["end", "the"])
    assert (detokenizer.push(encode("d")), detokenizer.stopped_by) == ("d", None)


def test_special_tokens_are_text_only_if_asked_for() -> None:
    ids = [*encode("a"), 0]
    shown = Detokenizer(TOKENIZER, skip_special_tokens=False)
    hidden = Detokenizer(TOKENIZER)
    assert (shown.push(ids), hidden.push(ids)) == ("a<|end|>", "a")


def test_unfinished_character_at_the_end_is_a_replacement() -> None:
    detokenizer = Detokenizer(TOKENIZER)
    first_byte = TOKENIZER.token_id("Ã")
    assert first_byte is not None
    assert detokenizer.push([first_byte]) == ""
    assert detokenizer.finish() == "\N{REPLACEMENT CHARACTER}"


def test_held_text_is_given_when_the_output_ends() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["ending"])
    assert detokenizer.push(encode("the end")) == "the "
    assert detokenizer.finish() == "end"


def test_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        Detokenizer(TOKENIZER, stop=["a", ""])
