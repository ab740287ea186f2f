"""Rings: which rows of a recurrent state belong to whom."""

from __future__ import annotations

import numpy as np

from octavo.kv.rings import blocks_of, can_share, groups_of, rings_of, rows_of
from octavo_platforms.program import Plane, StateSpec

KV = StateSpec("kv", "paged", (Plane("k", (2, 8), "float32"),), 2, 16)
MEMORY = StateSpec("memory", "recurrent", (Plane("ssm", (4,), "float32", ("N",)),), 1, ring=3)


def test_every_seat_has_rows_of_its_own_and_the_null_seat_has_none() -> None:
    rows = rows_of(np.arange(5, dtype=np.int32), 3)
    assert rows[0].tolist() == [0, 0, 0]
    assert sorted(rows[1:].ravel().tolist()) == list(range(1, 13))


def test_a_group_holds_a_row_for_each_place_of_each_ring() -> None:
    held = blocks_of((KV, MEMORY), num_blocks=40, max_requests=4)
    assert held == {"kv": 40, "memory": int(rows_of(np.array([4], np.int32), 3).max()) + 1}


def test_a_launch_says_the_rings_of_its_seats_and_no_blocks() -> None:
    found = groups_of(np.array([2, 1], np.int32), rings_of((KV, MEMORY)))
    assert set(found) == {"memory"}
    rows = found["memory"].state_rows
    assert rows is not None
    assert rows.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert found["memory"].block_table.shape == (2, 0)


def test_prefixes_are_shared_only_where_every_group_has_blocks() -> None:
    assert can_share((KV,))
    assert not can_share((KV, MEMORY))
