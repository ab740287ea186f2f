"""Encoders beside decoders, on every platform here: cross attention, rows mixed among tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from octavo_conformance.oracle.platform import OraclePlatform
from octavo_conformance.toy_encoders import (
    LIMITS,
    Crossing,
    Mixing,
    crossing,
    decodes_what_was_encoded,
    mixes_rows_among_tokens,
    mixing,
    reads_given_rows_as_tokens,
)
from octavo_platforms.loaded import Platform

from .platforms_here import PLATFORMS

NAMES = [name for name in PLATFORMS if name != "oracle"]


@pytest.fixture(scope="module", params=NAMES)
def platform(request: pytest.FixtureRequest) -> Platform:
    return PLATFORMS[request.param](LIMITS.max_step_tokens)


@pytest.fixture(scope="module")
def crossed(platform: Platform) -> Iterator[tuple[Crossing, Crossing]]:
    both = crossing(platform), crossing(Platform(OraclePlatform()))
    yield both
    for each in both:
        each.running.program.close()


@pytest.fixture(scope="module")
def mixed(platform: Platform) -> Iterator[tuple[Mixing, Mixing]]:
    both = mixing(platform), mixing(Platform(OraclePlatform()))
    yield both
    for each in both:
        each.running.program.close()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_decoders_see_all_of_their_own_source_and_nothing_else(
    crossed: tuple[Crossing, Crossing], temperature: float
) -> None:
    decodes_what_was_encoded(*crossed, temperature)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_pictures_among_tokens_may_be_cut_into_any_chunks(
    mixed: tuple[Mixing, Mixing], temperature: float
) -> None:
    mixes_rows_among_tokens(*mixed, temperature)


def test_rows_that_are_given_are_read_as_the_tokens_they_are_of(
    mixed: tuple[Mixing, Mixing],
) -> None:
    toy, _ = mixed
    reads_given_rows_as_tokens(toy)
