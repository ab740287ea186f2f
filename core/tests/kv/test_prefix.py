"""Names of blocks: equal exactly where whole contexts are."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.kv.prefix import Chain
from octavo_platforms.inputs import Ints


def tokens(*values: int) -> Ints:
    return np.array(values, np.int32)


def test_equal_contexts_have_equal_names_however_they_were_asked_for() -> None:
    context = np.arange(12, dtype=np.int32)
    at_once, stepwise = Chain(), Chain()
    last = at_once.name(2, context, 4)
    assert [stepwise.name(index, context[: 4 * index + 4], 4) for index in range(3)][2] == last


def test_a_name_covers_all_tokens_before_its_block() -> None:
    one, other = tokens(1, 2, 3, 4), tokens(9, 2, 3, 4)
    assert Chain().name(1, one, 2) != Chain().name(1, other, 2)
    assert Chain().name(0, one, 2) != Chain().name(0, tokens(1, 3), 2)


def test_equal_blocks_at_different_places_have_different_names() -> None:
    chain, context = Chain(), tokens(5, 5, 5, 5)
    assert chain.name(0, context, 2) != chain.name(1, context, 2)


def test_contexts_of_different_salts_share_no_name() -> None:
    context = tokens(1, 2)
    assert len({Chain(salt).name(0, context, 2) for salt in ("", "a", "b")}) == 3


def test_a_block_that_is_not_full_has_no_name() -> None:
    with pytest.raises(AssertionError):
        Chain().name(1, tokens(1, 2, 3), 2)


def test_names_are_the_same_in_every_process() -> None:
    assert Chain().name(0, tokens(1, 2), 2).hex() == "995c06853284bbb846771fbc0096230b"
