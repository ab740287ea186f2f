"""Runs of a table's rows: every entry once, row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from octavo.kv.runs import runs
from octavo_platforms.inputs import Ints


def ints(values: list[int]) -> Ints:
    return np.array(values, np.int32)


def test_runs_of_different_lengths_stand_one_after_the_other() -> None:
    rows, places = runs(ints([2, 5]), ints([1, 0]), ints([2, 3]))
    assert rows.tolist() == [2, 2, 5, 5, 5]
    assert places.tolist() == [1, 2, 0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 4))))
def test_runs_are_what_loops_would_give(pieces: list[tuple[int, int, int]]) -> None:
    rows, places = runs(*(ints([piece[axis] for piece in pieces]) for axis in range(3)))
    wanted = [(row, first + at) for row, first, count in pieces for at in range(count)]
    assert list(zip(rows.tolist(), places.tolist(), strict=True)) == wanted
