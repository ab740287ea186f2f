"""Scratch memory: values that live at once never share a byte, others do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octavo_cpu.native.scratch import ALIGNMENT_BYTES, Life, plan

LIVES = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 20), st.integers(0, 6)), max_size=25
).map(
    lambda drawn: {
        value: Life(num_bytes, first, first + length)
        for value, (num_bytes, first, length) in enumerate(drawn)
    }
)


@given(LIVES)
def test_values_that_live_at_once_lie_apart(lives: dict[int, Life]) -> None:
    offsets, size = plan(lives)
    assert offsets.keys() == lives.keys()
    for value, life in lives.items():
        assert offsets[value] % ALIGNMENT_BYTES == 0
        assert offsets[value] + life.num_bytes <= size
        for other, its in lives.items():
            if other != value and life.first <= its.last and its.first <= life.last:
                apart = offsets[value] + life.num_bytes <= offsets[other]
                assert apart or offsets[other] + its.num_bytes <= offsets[value]


def test_a_chain_of_equal_values_needs_two_places() -> None:
    lives = {value: Life(640, value, value + 1) for value in range(30)}
    assert plan(lives)[1] == 2 * 640
