"""How a cache becomes blocks: nothing overspent, and no window group is the first to run out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.fit import Costs, Demand, Shares, Window
from octavo.kv.groups import Group

SIZE = 16
EVERYTHING = Costs(block_size=SIZE, block_bytes=1000)
HYBRID = Costs(
    block_size=SIZE, block_bytes=200, windows=[(Window("w", 100, 50), 800)], snapshot_bytes=700
)
DEMAND = Demand(num_requests=8, context_tokens=1600, step_tokens=64)


def test_one_group_gets_what_it_costs_and_no_more_than_requests_can_hold() -> None:
    assert EVERYTHING.split(99_999, DEMAND) == Shares(99, {}, 0, 99_000)
    assert EVERYTHING.split(1 << 40, DEMAND).num_blocks == 8 * 100


def test_windows_get_what_is_enough_for_all_and_the_rest_of_the_memory_is_for_contexts() -> None:
    plain = Costs(block_size=SIZE, block_bytes=1000)
    parted = Costs(block_size=SIZE, block_bytes=200, windows=[(Window("w", 100, 50), 800)])
    enough = 8 * (7 + 2) + 4
    found = parted.split(400_000, DEMAND)
    assert found.windows == {"w": enough}
    assert found.num_blocks == min(800, (400_000 - enough * 800) // 200)
    assert plain.split(400_000, DEMAND).num_blocks == 400
    assert plain.num_at_once(plain.split(400_000, DEMAND), DEMAND) == 4
    assert parted.num_at_once(found, DEMAND) == 8


def test_where_memory_is_short_a_window_group_has_as_many_blocks_as_the_whole() -> None:
    found = HYBRID.split(10_000, DEMAND)
    assert found.windows["w"] == found.num_blocks == (10_000 - 700) // 1000
    assert found.num_snapshots == 1


def test_snapshots_take_an_eighth_at_most_and_four_for_each_request() -> None:
    assert HYBRID.split(80_000, DEMAND).num_snapshots == 80_000 // 8 // 700
    assert HYBRID.split(1 << 40, DEMAND).num_snapshots == 32


@settings(deadline=None)
@given(
    whole=st.integers(0, 2000), own=st.integers(0, 2000), snapshot=st.integers(0, 900),
    window=st.integers(1, 500), requests=st.integers(1, 40), context=st.integers(1, 3000),
    step=st.integers(1, 500), num_bytes=st.integers(0, 3_000_000),
)  # fmt: skip
def test_no_cache_is_overspent_and_what_all_wanted_is_enough_for_all(
    *, whole: int, own: int, snapshot: int, window: int, requests: int, context: int, step: int,
    num_bytes: int,
) -> None:  # fmt: skip
    windows = [(Window("w", window, 1), own)] if own else []
    if not whole and not own:
        return
    costs = Costs(block_size=SIZE, block_bytes=whole, windows=windows, snapshot_bytes=snapshot)
    demand = Demand(num_requests=requests, context_tokens=context, step_tokens=step)
    found = costs.split(num_bytes, demand)
    assert found.num_bytes <= num_bytes
    assert found.num_blocks is not None
    spent = found.num_blocks * whole + found.windows.get("w", 0) * own
    assert found.num_bytes == spent + found.num_snapshots * snapshot
    everything = costs.split(costs.wanted(demand), demand)
    assert costs.num_at_once(everything, demand) == requests
    if own:
        each = Group("w", 0, window).num_needed(
            context_tokens=context, step_tokens=step, block_size=SIZE
        )
        assert everything.windows["w"] >= each
        assert found.windows["w"] <= found.num_blocks
        assert not costs.has_room(Shares(10**6, {"w": each - 1}, 0, 0), demand)
        assert costs.has_room(Shares(10**6, {"w": each}, 0, 0), demand)
    least = costs.least(demand, num_tokens=context)
    assert costs.has_room(costs.split(least, demand), demand)


@pytest.mark.parametrize("num_requests", [1, 3, 8])
def test_so_many_requests_as_are_told_fit_into_the_blocks(num_requests: int) -> None:
    demand = Demand(num_requests=num_requests, context_tokens=1600, step_tokens=64)
    found = EVERYTHING.split(250_000, demand)
    assert EVERYTHING.num_at_once(found, demand) == min(num_requests, 2)
