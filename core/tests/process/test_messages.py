"""What crosses the boundary arrives as it left."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.asking import SamplingParams
from octavo.errors import (
    ClientError,
    FitError,
    InternalError,
    LaterError,
    OctavoError,
    OperatorError,
    PromptTooLong,
    UnknownModel,
)
from octavo.process.facts import facts_of
from octavo.process.messages import (
    Add,
    Ask,
    Ready,
    error_of,
    fault_of,
    plain_sampling,
    wire_of_clients,
    wire_of_engines,
)
from octavo.request import CacheKeys, Media
from octavo.testing.loaded import NullLoaded

PARAMS = SamplingParams(
    temperature=0.5,
    seed=2**63 - 1,
    max_tokens=7,
    stop="end",
    stop_token_ids=[3, 1],
    logit_bias={5: 1.5},
    allowed_token_ids=[1, 2],
    bad_token_ids=[[1, 2], [3]],
    logprobs=2,
)


def test_a_request_arrives_as_it_was_asked() -> None:
    prompt = np.arange(5000, dtype=np.int32)
    keys = CacheKeys(salt="salt", adapter="a", media=(Media(1, 2, b"digest"),))
    ask = Ask(2**40, prompt, plain_sampling(PARAMS), keys, 3)
    wire = wire_of_clients()
    got = wire.decode([bytes(frame) for frame in wire.encode(Add((ask,)))])
    assert isinstance(got, Add)
    (arrived,) = got.asks
    assert arrived.prompt_ids is not None
    assert np.array_equal(arrived.prompt_ids, prompt)
    assert (arrived.number, arrived.cache_keys.salt, arrived.priority) == (2**40, "salt", 3)
    assert tuple(arrived.cache_keys.media) == keys.media
    assert arrived.params == plain_sampling(PARAMS)


def test_the_facts_of_a_model_arrive() -> None:
    facts, wire = facts_of(NullLoaded(default_sampling=PARAMS)), wire_of_engines()
    got = wire.decode([bytes(frame) for frame in wire.encode(Ready(facts))])
    assert got == Ready(facts)
    assert facts.max_requests == 8


@pytest.mark.parametrize(
    "error",
    [
        ClientError("no", param="prompt"),
        PromptTooLong(prompt_tokens=9, limit_tokens=3, why="because"),
        UnknownModel("a", ("b",)),
        LaterError("later", retry_after_s=2.5),
        InternalError("ours"),
        OperatorError("yours"),
        FitError("too big"),
    ],
)
def test_an_error_is_of_the_same_kind_on_the_other_side(error: OctavoError) -> None:
    there = error_of(fault_of(error))
    assert str(there) == str(error)
    if isinstance(error, ClientError):
        assert isinstance(there, ClientError)
        told = (there.param, there.status, there.kind, there.code)
        assert told == (error.param, error.status, error.kind, error.code)
    elif isinstance(error, LaterError):
        assert isinstance(there, LaterError)
        assert there.retry_after_s == error.retry_after_s
    else:
        assert isinstance(error, type(there))


def test_an_error_that_nobody_meant_is_named_and_ours() -> None:
    there = error_of(fault_of(ZeroDivisionError("by zero\nand more")))
    assert isinstance(there, InternalError)
    assert str(there) == "ZeroDivisionError: by zero"
