"""Families whose layers overwrite their states, behind prefixes: nothing changes, or it is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from octavo_platforms import discover

from .families import MEMORY_ROWS, SPARSE_ROWS
from .measured import LIMITS
from .reference import ours
from .resumed import STEM, Wrong, resumed
from .row import Row

OVERWRITING = frozenset({"qwen3_next", "bamba", "falcon_h1"})
ROWS = [
    row
    for row in (*SPARSE_ROWS, *MEMORY_ROWS)
    if row.label == "plain" and (row in MEMORY_ROWS or row.family in OVERWRITING)
]
# Of three prompts that begin as another did, each goes on behind the stem, which ends with a block,
# and one of them behind a later step of the first, after 20 tokens of its output.
NUM_HIT_TOKENS = STEM + STEM + 96


@pytest.mark.parametrize("row", ROWS, ids=[row.family for row in ROWS])
def test_requests_behind_a_kept_state_get_the_tokens_and_logits_of_transformers(
    row: Row, tmp_path: Path
) -> None:
    module = row.write(tmp_path)
    running = ours(tmp_path, discover.load("cpu"), limits=LIMITS)
    found = resumed(running, module, depth=2)
    assert found.problems == ()
    assert found.num_hit_tokens == NUM_HIT_TOKENS


PLANTED: list[tuple[Row, Wrong]] = [(row, "lost") for row in ROWS]
PLANTED += [(row, "another's") for row in ROWS if row.family in ("bamba", "mamba2")]
PLANTED += [(row, "late") for row in ROWS if row.family in ("qwen3_next", "mamba")]


@pytest.mark.parametrize(
    ("row", "wrong"), PLANTED, ids=[f"{row.family} {wrong}" for row, wrong in PLANTED]
)
def test_a_state_that_is_lost_mistaken_or_kept_too_late_is_seen(
    row: Row, wrong: Wrong, tmp_path: Path
) -> None:
    module = row.write(tmp_path)
    running = ours(tmp_path, discover.load("cpu"), limits=LIMITS)
    found = resumed(running, module, depth=1, wrong=wrong)
    assert found.num_hit_tokens == NUM_HIT_TOKENS
    assert any("wrong" in each or "off" in each for each in found.problems)
