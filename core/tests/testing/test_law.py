"""The law of tokens itself: what it takes for wrong, what for undecided, and what for no proof."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.testing.law import hold


def rows(*gaps: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Give logits of ten ids in which id 3 wins by a gap."""
    found = np.zeros((len(gaps), 10), np.float32)
    found[:, 3] = gaps
    return found


def test_a_token_that_clearly_lost_is_wrong_and_one_that_lost_by_a_hair_is_not() -> None:
    held = hold(rows(1.0, 1e-9, 1.0) + 1, [3, 7, 8], "float32")
    assert (held.num_tokens, held.num_decided, held.wrong) == (3, 2, (2,))


def test_a_wider_dtype_decides_more() -> None:
    gaps = [0.004] * 100
    assert hold(rows(*gaps) + 1, [3] * 100, "float32").num_decided == 100
    assert hold(rows(*gaps) + 1, [3] * 100, "bfloat16").num_decided == 0


@pytest.mark.parametrize(("num_close", "is_evidence"), [(0, True), (1, True), (2, False)])
def test_a_run_in_which_fewer_than_99_of_100_are_decided_is_no_evidence(
    num_close: int, is_evidence: bool
) -> None:
    gaps = [0.0] * num_close + [1.0] * (100 - num_close)
    held = hold(rows(*gaps), [3] * 100, "float32")
    assert not held.wrong
    assert held.is_evidence is is_evidence


def test_where_nothing_is_decided_nothing_is_proved() -> None:
    assert not hold(rows(*[0.0] * 50), [9] * 50, "float32").is_evidence
