"""The zoo on every platform that is here: each toy gives what the oracle gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from octavo import SamplingParams
from octavo.testing.toys.pooled import Pooling
from octavo.testing.toys.zoo import GENERATORS
from octavo_conformance.toy_launches import adapts_each_request_alone, pools_as_the_oracle
from octavo_conformance.toys import Pair, again, pair, same_logits, same_tokens
from octavo_platforms import discover
from octavo_platforms.loaded import Platform

SEED = 2**40 + 7
FRAMEWORK_OF = {"cpu": "torch", "jax": "jax", "emulated": "torch"}


@pytest.fixture(scope="module", params=FRAMEWORK_OF)
def platform(request: pytest.FixtureRequest) -> Platform:
    name: str = request.param
    pytest.importorskip(FRAMEWORK_OF[name])
    found = discover.load(name)
    if not found.probe().found:
        pytest.skip(found.probe().words)
    return found


@pytest.fixture(scope="module", params=GENERATORS)
def toy(request: pytest.FixtureRequest, platform: Platform) -> Iterator[Pair]:
    found = pair(platform, request.param)
    yield found
    found.close()


def test_logits_are_those_of_the_oracle_in_any_chunks(toy: Pair) -> None:
    same_logits(toy)


@pytest.mark.parametrize(("temperature", "depth"), [(0.0, 1), (1.0, 1), (1.0, 2)])
def test_tokens_are_those_of_the_oracle_with_one_step_in_flight_or_two(
    toy: Pair, temperature: float, depth: int
) -> None:
    same_tokens(toy, temperature=temperature, seed=SEED, max_in_flight=depth)


def test_same_seed_gives_the_same_tokens_again(toy: Pair) -> None:
    params = SamplingParams(temperature=1.0, seed=SEED, max_tokens=12)
    assert again(toy, params) == again(toy, params)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_each_prompt_is_pooled_into_the_row_of_the_oracle(
    platform: Platform, pooling: Pooling
) -> None:
    pools_as_the_oracle(platform, pooling)


def test_each_request_has_its_own_adapter_and_slots_are_refilled(platform: Platform) -> None:
    adapts_each_request_alone(platform)
