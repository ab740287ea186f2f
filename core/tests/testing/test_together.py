"""Functions that run in several processes at once: what comes back, and what of one that fails."""

from __future__ import annotations

import pytest

from octavo.testing.together import MemberFailed, together


def test_each_rank_gives_its_own_answer_and_all_meet_at_one_place() -> None:
    first, second = together("builtins:str", ranks=2)
    assert isinstance(first, str)
    assert isinstance(second, str)
    assert "rank=0, ranks=2, rendezvous='file:///" in first
    assert first.replace("rank=0", "rank=1") == second


def test_process_that_fails_is_named_with_its_last_words() -> None:
    with pytest.raises(
        MemberFailed, match=r"(?s)rank 0 ended with 1: .*'Place' object is not iter"
    ):
        together("builtins:list", ranks=1)
