"""Streams of text: whatever the tokens, all pieces together are the text of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from octavo.errors import ModelError
from octavo.tokenizer import Tokenizer

SPECIAL = ["<s>", "</s>"]


def byte_level() -> Tokenizer:
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġthe", "ÃĤ", "ðŁ", "<tool>"]
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    backend.add_tokens(
        [AddedToken("<tool>", normalized=False), AddedToken("日 本", normalized=False)]
    )
    return Tokenizer(backend)


def byte_fallback(num_stripped: int = 1) -> Tokenizer:
    tokens = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), "▁", "▁the", "a", "▁▁", "é", "<0x>"]
    model = models.BPE({token: i for i, token in enumerate(tokens)}, [], byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    strip = [decoders.Strip(" ", num_stripped, 0)] if num_stripped else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    backend.add_special_tokens(SPECIAL)
    return Tokenizer(backend)


TOKENIZERS = [byte_level(), byte_fallback(), byte_fallback(0), byte_fallback(3)]
TOKENIZER = st.sampled_from(TOKENIZERS)
# Ids that the vocabularies do not have are among them: a model may have rows that mean nothing.
ANY_IDS = st.lists(st.integers(0, 270), max_size=40)
# Bytes of whole characters, now and then with one missing.
TEXT_IDS = st.text().map(lambda text: list(text.encode())).map(lambda raw: [2 + b for b in raw])


def streamed(tokenizer: Tokenizer, pushes: Sequence[Sequence[int]], *, skip: bool) -> str:
    stream = tokenizer.stream(skip_special_tokens=skip)
    return "".join([stream.feed(ids) for ids in pushes]) + stream.finish()


@settings(max_examples=300, deadline=None)
@given(TOKENIZER, st.lists(ANY_IDS | TEXT_IDS, max_size=8), st.booleans())
def test_pieces_together_are_the_text_of_the_whole(
    tokenizer: Tokenizer, pushes: list[list[int]], skip: bool
) -> None:
    whole = [token_id for ids in pushes for token_id in ids]
    expected = tokenizer.decode(whole, skip_special_tokens=skip)
    assert streamed(tokenizer, pushes, skip=skip) == expected
    assert streamed(tokenizer, [[token_id] for token_id in whole], skip=skip) == expected


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([TOKENIZERS[1], TOKENIZERS[2]]), st.text(), ANY_IDS)
def test_text_after_a_prompt_continues_the_prompt(
    tokenizer: Tokenizer, prompt_text: str, output: list[int]
) -> None:
    prompt = [258, *(2 + byte for byte in prompt_text.encode()), 260]
    stream = tokenizer.stream(skip_special_tokens=False)
    stream.skip(prompt)
    text = stream.feed(output) + stream.finish()
    before = tokenizer.decode(prompt, skip_special_tokens=False)
    assert before + text == tokenizer.decode(prompt + output, skip_special_tokens=False)


@pytest.mark.parametrize("tokenizer", TOKENIZERS[:2])
def test_character_is_given_when_its_last_byte_has_come(tokenizer: Tokenizer) -> None:
    spelled = ["ð", "Ł", "Ļ", "Ĥ", "a"]  # U+1F642 in a byte-level vocabulary
    if tokenizer.token_id("<0xF0>") is not None:
        spelled = ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "a"]
    ids = [token_id for token in spelled if (token_id := tokenizer.token_id(token)) is not None]
    stream = tokenizer.stream(skip_special_tokens=False)
    pieces = [stream.feed([token_id]) for token_id in ids]
    assert pieces[:3] == ["", "", ""]
    assert "".join(pieces) == "🙂a"


@pytest.mark.parametrize("tokenizer", TOKENIZERS[:2])
def test_character_begun_in_the_prompt_is_given_whole(tokenizer: Tokenizer) -> None:
    spelled = ["<0xC3>", "<0xA9>"] if tokenizer.token_id("<0xC3>") else ["Ã", "©"]
    first, second = (tokenizer.token_id(token) for token in spelled)
    assert first is not None
    assert second is not None
    stream = tokenizer.stream(skip_special_tokens=True)
    stream.skip([first])
    assert stream.feed([second]) + stream.finish() == "é"


def test_way_of_decoding_that_is_not_known_is_refused_by_name() -> None:
    backend = tokenizers.Tokenizer(models.BPE({"a": 0}, []))
    backend.decoder = decoders.WordPiece()
    with pytest.raises(ModelError, match="decodes by WordPiece"):
        Tokenizer(backend)
