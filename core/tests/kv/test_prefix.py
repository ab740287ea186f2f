"""Names of blocks: equal exactly where whole contexts are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.kv.prefix import Chain
from octavo.request import CacheKeys, Media
from octavo_platforms.inputs import Ints


def tokens(*values: int) -> Ints:
    return np.array(values, np.int32)


def test_equal_contexts_have_equal_names_however_they_were_asked_for() -> None:
    context = np.arange(12, dtype=np.int32)
    at_once, stepwise = Chain(), Chain()
    last = at_once.name(2, context, 4)
    assert [stepwise.name(index, context[: 4 * index + 4], 4) for index in range(3)][2] == last


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 4))
def test_a_walk_gives_the_names_of_all_full_blocks_whichever_were_known(
    values: list[int], num_known: int
) -> None:
    context, chain, walked = tokens(*values), Chain(), Chain()
    right = [chain.name(index, context, 2) for index in range(len(values) // 2)]
    for index in range(min(num_known, len(right))):
        walked.name(index, context, 2)
    assert list(walked.walk(context, 2)) == right == list(walked.names)


def test_a_walk_makes_no_name_that_is_not_asked_for() -> None:
    chain = Chain()
    names = chain.walk(np.arange(12, dtype=np.int32), 4)
    assert len(chain.names) == 0
    next(names)
    assert len(chain.names) == 1


def test_a_name_covers_all_tokens_before_its_block() -> None:
    one, other = tokens(1, 2, 3, 4), tokens(9, 2, 3, 4)
    assert Chain().name(1, one, 2) != Chain().name(1, other, 2)
    assert Chain().name(0, one, 2) != Chain().name(0, tokens(1, 3), 2)


def test_equal_blocks_at_different_places_have_different_names() -> None:
    chain, context = Chain(), tokens(5, 5, 5, 5)
    assert chain.name(0, context, 2) != chain.name(1, context, 2)


def test_contexts_of_different_salts_share_no_name() -> None:
    context = tokens(1, 2)
    assert len({Chain(CacheKeys(salt=salt)).name(0, context, 2) for salt in ("", "a", "b")}) == 3


TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\ud800\udfff")), max_size=6)
CONTEXTS = st.lists(st.integers(0, 3), min_size=2, max_size=12)


def names(keys: CacheKeys, context: list[int]) -> list[bytes]:
    chain, array = Chain(keys), np.array(context, np.int32)
    return [chain.name(index, array, 2) for index in range(len(context) // 2)]


@settings(deadline=None)
@given(TEXTS, TEXTS, CONTEXTS, CONTEXTS)
def test_two_salts_never_share_a_block_whatever_was_said(
    one: str, other: str, ours: list[int], theirs: list[int]
) -> None:
    found = [set(names(CacheKeys(salt=salt), context)) for salt, context in
             ((one, ours), (other, theirs))]  # fmt: skip
    if one != other:
        assert not found[0] & found[1]
    else:
        pairs = zip(ours[: len(ours) // 2 * 2], theirs[: len(theirs) // 2 * 2], strict=False)
        same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))
        assert len(found[0] & found[1]) == same // 2


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_salts_and_adapters_are_not_mistaken_for_each_other(
    salt: str, adapter: str, other_salt: str, other_adapter: str
) -> None:
    ours = names(CacheKeys(salt=salt, adapter=adapter), [1, 2])
    theirs = names(CacheKeys(salt=other_salt, adapter=other_adapter), [1, 2])
    assert (ours == theirs) == ((salt, adapter) == (other_salt, other_adapter))


def test_blocks_before_a_picture_are_shared_and_those_from_it_on_are_not() -> None:
    context = [7] * 10
    pictures = [(), (Media(5, 2, b"cat"),), (Media(5, 2, b"dog"),), (Media(6, 2, b"cat"),)]
    plain, cat, dog, later = (names(CacheKeys(media=each), context) for each in pictures)
    assert plain[:2] == cat[:2] == dog[:2] == later[:2]
    assert plain[2] == later[2]
    assert len({plain[2], cat[2], dog[2]}) == 3
    assert len({each[4] for each in (plain, cat, dog, later)}) == 4


def test_a_block_that_is_not_full_has_no_name() -> None:
    with pytest.raises(AssertionError):
        Chain().name(1, tokens(1, 2, 3), 2)


def test_names_are_the_same_in_every_process() -> None:
    assert Chain().name(0, tokens(1, 2), 2).hex() == "a7b3ab63cd860d696707813aa26e2b26"
