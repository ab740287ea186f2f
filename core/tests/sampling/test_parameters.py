"""What a client may ask for, and how a refusal reads."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from octavo.errors import ClientError
from octavo.sampling import SamplingParams

BAD: list[tuple[str, list[object]]] = [
    ("temperature", [-0.1, 2.1, math.nan, "1", True, None]),
    ("seed", [2**63, -(2**63) - 1, 1.5, True]),
    ("max_tokens", [0, -1, 1.0, True, "5"]),
    ("ignore_eos", [1, None]),
    ("stop_token_ids", [[-1], "12", 7, [1.5], range(65)]),
    ("top_k", [-2, 1.0, True, None]),
    ("top_p", [0, -0.1, 1.01, math.nan, None]),
    ("min_p", [-0.01, 1.5, "0"]),
    ("repetition_penalty", [0, -1, math.inf, None]),
    ("presence_penalty", [-2.1, 2.1, None]),
    ("frequency_penalty", [-2.1, 2.1, "1"]),
    ("logit_bias", [[1], {-1: 0.0}, {"1": 0.0}, {1: 101.0}, {1: math.inf}, {1: "5"}]),
    ("allowed_token_ids", [[], [-1], "1", 3]),
    ("bad_token_ids", [[[]], [5], [[1.0]], "12", [list(range(1025))]]),
    ("min_tokens", [-1, 1.0, None]),
    ("logprobs", [-2, 1.5, True]),
    ("prompt_logprobs", [-2, "1"]),
    ("logits_processors", [[1], 5, len]),
]


@pytest.mark.parametrize(
    ("param", "value"), [(param, value) for param, values in BAD for value in values]
)
def test_a_parameter_out_of_its_range_is_refused_by_name_and_value(
    param: str, value: object
) -> None:
    with pytest.raises(ClientError, match=f"'{param}' is .*, but must be ") as caught:
        SamplingParams(**{param: value})  # type: ignore[arg-type]
    assert caught.value.param == param
    assert repr(value)[:80] in str(caught.value)


def test_the_limits_themselves_are_accepted() -> None:
    params = SamplingParams(
        temperature=2, seed=-(2**63), max_tokens=1, stop_token_ids=list(range(64)),
        top_k=-1, top_p=1, min_p=1, presence_penalty=-2, frequency_penalty=2, min_tokens=1,
        logit_bias={0: -100, 7: 100}, allowed_token_ids=[3, 3, 1], logprobs=-1,
        bad_token_ids=[[1], [2, 3]],
    )  # fmt: skip
    assert params.stop_token_ids == tuple(range(64))
    assert params.allowed_token_ids == (3, 1)
    assert params.bad_token_ids == ((1,), (2, 3))
    assert params.logit_bias == {0: -100.0, 7: 100.0}
    assert replace(params, top_k=0) == replace(params, top_k=0)


def test_more_tokens_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(ClientError, match="at most max_tokens, 4") as caught:
        SamplingParams(max_tokens=4, min_tokens=5)
    assert caught.value.param == "min_tokens"


def test_a_caller_who_changes_a_bias_later_changes_no_request() -> None:
    bias = {5: 1.0}
    params = SamplingParams(logit_bias=bias)
    bias[5] = 2.0
    assert params.logit_bias == {5: 1.0}


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("stop_token_ids", [3, 10]),
        ("logit_bias", {10: 1.0}),
        ("allowed_token_ids", [0, 10]),
        ("bad_token_ids", [[1, 10]]),
    ],
)
def test_an_id_that_the_model_lacks_is_refused_by_the_parameter_that_names_it(
    param: str, value: object
) -> None:
    params = SamplingParams(**{param: value})  # type: ignore[arg-type]
    params.check_vocabulary(11)
    with pytest.raises(ClientError, match="10, but must be below the vocabulary's size, 10") as bad:
        params.check_vocabulary(10)
    assert bad.value.param == param
