"""What is told beside the text, without a server."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.asking import SamplingParams
from octavo.outputs import OutputText
from octavo.request import Request
from octavo.server.openai.telling import LEAST_LOGPROB, Offsets, Teller, Told, echoed_offsets
from octavo.step import Logprobs
from octavo.testing.loaded import NullLoaded, byte_tokenizer

TOKENIZER = byte_tokenizer()
TEXTS = st.text(st.sampled_from("ab é日🙂"), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, st.integers(0, 5))
def test_a_token_begins_where_its_character_does(prompt: str, text: str, first: int) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    before = TOKENIZER.encode(prompt, add_special_tokens=False)
    offsets = Offsets(TOKENIZER, prompt=before, first=first)
    middle = len(ids) // 2
    found = [*offsets.of(ids[:middle]), *offsets.of(ids[middle:])]
    assert found == [
        first + index for index, character in enumerate(text) for _ in character.encode()
    ]


def test_what_stands_before_an_echoed_text_begins_where_the_text_does() -> None:
    first = TOKENIZER.token_id("<s>")
    assert first is not None
    ids = TOKENIZER.encode("aé</s>b", add_special_tokens=False)
    assert echoed_offsets(TOKENIZER, [first, *ids], "aé</s>b") == [0, 0, 1, 1, 2, 6]
    assert echoed_offsets(TOKENIZER, [first, *ids], "<s>aé</s>b") == [0, 3, 4, 4, 5, 9]


def test_what_cannot_be_is_written_as_a_number_that_json_has() -> None:
    impossible = Logprobs(
        np.array([-np.inf], np.float32),
        np.array([259], np.int32),
        np.array([[5, 200]], np.int32),
        np.array([[0, -np.inf]], np.float32),
    )
    params = SamplingParams(logprobs=2)
    output = OutputText(NullLoaded(), Request("r", np.array([1], np.int32), params), params)
    output.tell(impossible)
    output.push(7, "length")
    teller = Teller(TOKENIZER, Told(logprobs=2))
    chat = teller.chat(output, slice(None))
    assert chat is not None
    content = chat["content"]
    assert isinstance(content, list)
    (entry,) = content
    assert [entry["logprob"], *(top["logprob"] for top in entry["top_logprobs"])] == [
        LEAST_LOGPROB,
        0,
        LEAST_LOGPROB,
    ]


def test_tokens_that_are_no_characters_never_look_alike() -> None:
    teller = Teller(TOKENIZER, Told(logprobs=0))
    every = range(TOKENIZER.vocab_size)
    one = np.zeros(1, np.float32)
    told = Logprobs(one, one.astype(np.int32), np.zeros((1, 0), np.int32), np.zeros((1, 0), "f4"))
    found = teller.completion(every, [told] * len(every), [0] * len(every))
    assert found is not None
    names = found["tokens"]
    assert isinstance(names, list)
    assert all(left != right for left, right in pairwise(sorted(names)))
