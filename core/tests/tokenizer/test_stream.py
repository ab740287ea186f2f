"""Streams of text: whatever the tokens, all pieces together are the text of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer
from octavo.weights import find

SPECIAL = ["<s>", "</s>"]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
ALPHABET = [chr(byte if byte in PRINTABLE else 0x100 + OTHERS.index(byte)) for byte in range(256)]
PIECES = ["▁", "▁the", "a", "▁▁", "é", "▁日▁本", " b", "<0x>", "<0x+F>", "<0x▁>"]
NUM_IDS = 275  # some more than any vocabulary has: a model may have rows that mean nothing


def byte_level(tokens: Sequence[str] = ("Ġthe", "ÃĤ", "ðŁ", "©a", "<tool>")) -> Tokenizer:
    every = dict.fromkeys([*SPECIAL, *ALPHABET, *tokens])
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(every)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    backend.add_tokens(
        [AddedToken("<tool>", normalized=False), AddedToken("日 本", normalized=False)]
    )
    return Tokenizer(backend)


def pieces(decoder: decoders.Decoder, tokens: Sequence[str] = PIECES) -> Tokenizer:
    every = dict.fromkeys([*SPECIAL, *BYTE_TOKENS, *tokens])
    model = models.BPE({token: i for i, token in enumerate(every)}, [], byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    backend.decoder = decoder
    backend.add_special_tokens(SPECIAL)
    return Tokenizer(backend)


def llama_decoder(num_stripped: int = 1) -> decoders.Decoder:
    strip = [decoders.Strip(" ", num_stripped, 0)] if num_stripped else []
    return decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )


def metaspace_decoder(scheme: str = "always") -> decoders.Decoder:
    return decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", scheme)])


DECODERS = {
    "Llama 2": llama_decoder(),
    "Gemma": llama_decoder(0),
    "three spaces": llama_decoder(3),
    "byte fallback, Metaspace": metaspace_decoder(),
    "Metaspace": decoders.Metaspace("▁", "first"),
    "Metaspace without a first": metaspace_decoder("never"),
    "BERT": decoders.WordPiece(),
    "another WordPiece": decoders.WordPiece("▁", cleanup=False),
}
WORD_PIECES = ["##a", "##", "▁é", ".", " 'm", "do not", "n't", "x"]
WITH_BYTES = [pieces(DECODERS["Llama 2"]), pieces(DECODERS["byte fallback, Metaspace"])]
TOKENIZERS = [
    byte_level(),
    *(
        pieces(decoder, WORD_PIECES if "Piece" in f"{decoder}" else PIECES)
        for decoder in DECODERS.values()
    ),
]


@st.composite
def vocabularies(draw: st.DrawFn) -> Tokenizer:
    """Draw a tokenizer whose tokens are any bytes, or any pieces."""
    if draw(st.booleans()):
        spelled = st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=4).map("".join)
        return byte_level(draw(st.lists(spelled, max_size=12)))
    decoder = DECODERS[draw(st.sampled_from(sorted(DECODERS)))]
    piece = st.text("▁ a#.é'n日", min_size=1, max_size=4)
    return pieces(decoder, draw(st.lists(piece, min_size=1, max_size=12)))


ANY_TOKENIZER = st.sampled_from(TOKENIZERS) | vocabularies()
ANY_IDS = st.lists(st.integers(0, NUM_IDS), max_size=40)
# Vocabularies begin alike: two special tokens, then every byte. Where these are whole characters,
# now and then one is missing.
FURTHER_IDS = st.lists(st.integers(258, NUM_IDS), max_size=8)
TEXT_IDS = st.text().map(lambda text: [2 + byte for byte in text.encode()])
IDS = ANY_IDS | TEXT_IDS | FURTHER_IDS
PUSHES = st.lists(IDS, max_size=8)


def streamed(tokenizer: Tokenizer, pushes: Sequence[Sequence[int]], *, skip: bool) -> str:
    stream = tokenizer.stream(skip_special_tokens=skip)
    return "".join([stream.feed(ids) for ids in pushes]) + stream.finish()


def without(ids: list[int], place: int) -> list[int]:
    return [*ids[:place], *ids[place + 1 :]]


def on_the_quick_road(
    tokenizer: Tokenizer, prompt: Sequence[int], ids: Sequence[int], *, skip: bool
) -> str:
    """Look plain tokens up, while that may be done; the stream sees the others alone."""
    stream = tokenizer.stream(skip_special_tokens=skip)
    stream.skip(prompt)
    text = ""
    for token_id in ids:
        plain = stream.plain[token_id] if stream.is_at_rest else None
        text += stream.feed([token_id]) if plain is None else plain
    return text + stream.finish()


@settings(max_examples=400, deadline=None)
@given(ANY_TOKENIZER, PUSHES, st.booleans())
def test_pieces_together_are_the_text_of_the_whole(
    tokenizer: Tokenizer, pushes: list[list[int]], skip: bool
) -> None:
    whole = [token_id for ids in pushes for token_id in ids]
    expected = tokenizer.decode(whole, skip_special_tokens=skip)
    assert streamed(tokenizer, pushes, skip=skip) == expected
    assert streamed(tokenizer, [[token_id] for token_id in whole], skip=skip) == expected
    assert on_the_quick_road(tokenizer, [], whole, skip=skip) == expected


def ends_in_byte(tokenizer: Tokenizer, ids: Sequence[int]) -> bool:
    """Tell whether the last of the tokens that may count for something is a byte."""
    spelled = [tokenizer.token_text(token_id) for token_id in ids]
    counting = [token for token in spelled if token is not None and token not in SPECIAL]
    return bool(counting) and counting[-1] in {*BYTE_TOKENS, "<0x+F>"}


@settings(max_examples=300, deadline=None)
@given(ANY_TOKENIZER, IDS, PUSHES, st.booleans())
def test_text_after_a_prompt_continues_the_prompt(
    tokenizer: Tokenizer, prompt: list[int], pushes: list[list[int]], skip: bool
) -> None:
    # What a broken character or run of the prompt shows is decided by the output: a law of its own.
    if ends_in_byte(tokenizer, prompt):
        prompt = [*prompt, 258]
    output = [token_id for ids in pushes for token_id in ids]
    before = tokenizer.decode(prompt, skip_special_tokens=skip)
    if before.endswith("\N{REPLACEMENT CHARACTER}"):
        return
    expected = tokenizer.decode([*prompt, *output], skip_special_tokens=skip)
    stream = tokenizer.stream(skip_special_tokens=skip)
    stream.skip(prompt)
    text = "".join([stream.feed(ids) for ids in pushes]) + stream.finish()
    assert before + text == expected
    assert before + on_the_quick_road(tokenizer, prompt, output, skip=skip) == expected


def test_text_after_special_tokens_alone_begins_and_after_text_goes_on() -> None:
    tokenizer = WITH_BYTES[0]
    space_the = tokenizer.token_id("▁the")
    assert space_the is not None
    for prompt, expected in [
        ([], "the the"),
        ([0] * 100, "the the"),
        ([space_the, *[0] * 100], " the the"),
    ]:
        stream = tokenizer.stream(skip_special_tokens=True)
        stream.skip(prompt)
        assert stream.feed([space_the, space_the]) == expected


def test_tokenizer_of_the_demo_model_streams_what_it_decodes(demo_gguf: Path) -> None:
    tokenizer = find(str(demo_gguf)).tokenizer()
    any_ids = st.lists(st.integers(0, tokenizer.vocab_size + 2), max_size=40)
    texts = st.text().map(lambda text: tokenizer.encode(text, add_special_tokens=False))
    broken = st.tuples(texts, st.integers(0, 50)).map(
        lambda it: it[0][: it[1]] + it[0][it[1] + 1 :]
    )

    @settings(max_examples=300, deadline=None)
    @given(st.lists(any_ids | texts | broken, max_size=6), st.booleans())
    def streams_what_it_decodes(pushes: list[list[int]], skip: bool) -> None:
        whole = [token_id for ids in pushes for token_id in ids]
        expected = tokenizer.decode(whole, skip_special_tokens=skip)
        assert streamed(tokenizer, pushes, skip=skip) == expected
        assert on_the_quick_road(tokenizer, [], whole, skip=skip) == expected

    streams_what_it_decodes()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([byte_level(), *WITH_BYTES]), st.text())
def test_no_piece_of_whole_characters_has_half_of_one(tokenizer: Tokenizer, text: str) -> None:
    text = text.replace("\N{REPLACEMENT CHARACTER}", "")
    stream = tokenizer.stream(skip_special_tokens=False)
    texts = [stream.feed([2 + byte]) for byte in text.encode()]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts) + stream.finish()


@pytest.mark.parametrize("tokenizer", [byte_level(), *WITH_BYTES])
def test_character_is_given_when_its_last_byte_has_come(tokenizer: Tokenizer) -> None:
    # With byte tokens a later one can still break the whole run: it ends with a piece of text.
    end = [] if tokenizer.token_id("<0xF0>") is None else [tokenizer.token_id("a")]
    stream = tokenizer.stream(skip_special_tokens=False)
    ids = [2 + byte for byte in "🙂".encode()]
    pieces = [stream.feed([token_id]) for token_id in [*ids, *end] if token_id is not None]
    assert pieces[:3] == ["", "", ""]
    assert pieces[-1] == ("🙂a" if end else "🙂")


@pytest.mark.parametrize("tokenizer", [byte_level(), *WITH_BYTES])
@pytest.mark.parametrize("num_begun", [1, 2, 3])
def test_character_begun_in_the_prompt_is_given_whole(tokenizer: Tokenizer, num_begun: int) -> None:
    ids = [2 + byte for byte in "🙂".encode()]
    stream = tokenizer.stream(skip_special_tokens=True)
    stream.skip([260, 0, *ids[:num_begun]])
    assert stream.feed(ids[num_begun:]) + stream.finish() == "🙂"


@pytest.mark.parametrize("tokenizer", [byte_level(), *WITH_BYTES])
def test_special_token_amid_a_character_does_not_break_it_where_it_is_skipped(
    tokenizer: Tokenizer,
) -> None:
    first, second = (2 + byte for byte in "é".encode())
    assert streamed(tokenizer, [[first], [0], [second]], skip=True) == "é"
    broken = "\N{REPLACEMENT CHARACTER}<s>\N{REPLACEMENT CHARACTER}"
    assert streamed(tokenizer, [[first], [0], [second]], skip=False) == broken


def test_way_of_decoding_that_is_not_known_is_refused_by_name() -> None:
    backend = tokenizers.Tokenizer(models.BPE({"a": 0}, []))
    backend.decoder = decoders.BPEDecoder()
    with pytest.raises(ModelError, match="decodes by BPEDecoder"):
        Tokenizer(backend)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_bytes_of_a_token_are_what_it_adds_to_a_text_that_has_begun(
    tokenizer: Tokenizer,
) -> None:
    plain = tokenizer.stream(skip_special_tokens=False).plain
    for token_id in range(NUM_IDS):
        text = plain[token_id]
        if text is not None:
            assert tokenizer.token_bytes(token_id) == text.encode()


@pytest.mark.parametrize("tokenizer", [byte_level(), *WITH_BYTES])
def test_the_bytes_of_a_token_may_be_no_character(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_bytes(2 + byte)[0] for byte in range(256)] == list(range(256))
    assert tokenizer.token_bytes(0) == b"<s>"
