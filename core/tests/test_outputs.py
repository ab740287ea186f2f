"""Outputs while they grow: their text, whatever road a token takes, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.asking import SamplingParams
from octavo.outputs import OutputText
from octavo.request import FinishReason, Request
from octavo.testing.loaded import NullLoaded

MODEL = NullLoaded()
VOCAB_SIZE = MODEL.tokenizer.vocab_size
IDS = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=30)


def encode(text: str) -> list[int]:
    return MODEL.tokenizer.encode(text, add_special_tokens=False)


def begun(prompt: Sequence[int], params: SamplingParams) -> OutputText:
    return OutputText(MODEL, Request("r", np.array(prompt, np.int32), params), params)


def pushed(output: OutputText, ids: Sequence[int], ended: FinishReason) -> list[str]:
    """Push all ids; with the last, the engine ends the output."""
    last = len(ids) - 1
    return [output.push(token, ended if at == last else None) for at, token in enumerate(ids)]


@settings(max_examples=200, deadline=None)
@given(IDS, IDS.filter(bool), st.booleans())
def test_pieces_are_the_text_of_decoding_all_tokens(
    prompt: list[int], ids: list[int], skip: bool
) -> None:
    whole = [*prompt, *encode("."), *ids]
    tokenizer = MODEL.tokenizer
    before = tokenizer.decode(whole[: -len(ids)], skip_special_tokens=skip)
    output = begun(whole[: -len(ids)], SamplingParams(skip_special_tokens=skip))
    pieces = pushed(output, ids, "length")
    assert before + "".join(pieces) == tokenizer.decode(whole, skip_special_tokens=skip)
    assert output.text == "".join(pieces)
    assert output.token_ids == ids


def test_character_begun_in_the_prompt_is_finished_by_the_output() -> None:
    first, second = encode("é")
    output = begun([*encode("a"), first], SamplingParams())
    assert output.push(second, None) == "é"


@pytest.mark.parametrize(
    ("min_tokens", "text", "reason"),
    [(0, "x", "stop"), (2, "x", "stop"), (3, "x, x", "stop"), (6, "x, x, ", "length")],
)
def test_stop_string_ends_nothing_before_the_least_number_of_tokens(
    min_tokens: int, text: str, reason: str
) -> None:
    output = begun(encode("a"), SamplingParams(stop=", ", min_tokens=min_tokens))
    pushed(output, encode("x, x, "), "length")
    assert (output.text, output.finish_reason) == (text, reason)


def test_token_that_ends_the_output_shows_its_text_only_if_asked_for() -> None:
    ids = encode("so.")
    for is_included, text in ((False, "so"), (True, "so.")):
        params = SamplingParams(stop_token_ids=ids[-1:], include_stop_str_in_output=is_included)
        output = begun(encode("a"), params)
        pushed(output, ids, "stop")
        assert (output.text, output.finish_reason, output.stop_reason) == (text, "stop", ids[-1])


def test_tokens_after_a_stop_string_are_not_the_outputs() -> None:
    output = begun(encode("a"), SamplingParams(stop="."))
    assert pushed(output, encode("so. Then"), "length") == ["s", "o", *[""] * 6]
    assert (output.finish_reason, output.stop_reason) == ("stop", ".")
    assert output.token_ids == encode("so.")
