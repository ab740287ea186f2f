"""Every broken checkpoint is refused with its reason, and leaves nothing on the device."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from octavo.testing.broken.cases import CASES, Case
from octavo.testing.broken.files import tensors, write_gguf, write_shards, write_single
from octavo.testing.broken.loaded import CountedMemory, load_all
from octavo.testing.broken.page import page, said

PAGE = Path(__file__).parents[3] / "docs" / "checkpoints.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_broken_checkpoint_is_refused_with_its_reason_and_leaves_nothing(case: Case) -> None:
    memory = CountedMemory()
    message = said(case, memory)
    assert re.search(case.says, message), message
    assert memory.held_bytes == 0


def test_what_was_placed_before_the_last_weight_was_refused_is_given_back() -> None:
    memory = CountedMemory()
    (case,) = (case for case in CASES if case.what == "A norm holds one number that is none")
    said(case, memory)
    assert memory.brought_bytes > 0
    assert memory.held_bytes == 0


def test_whole_checkpoint_is_placed_in_each_of_its_forms(tmp_path: Path) -> None:
    for name, write in (
        ("shards", write_shards),
        ("single", write_single),
        ("gguf", write_gguf),
    ):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, tensors())
        memory = CountedMemory()
        assert load_all(folder, memory) > 0
        assert memory.held_bytes == memory.brought_bytes > 0


def test_page_for_people_says_what_is_said() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: python -m octavo.testing.broken.page docs/checkpoints.md"
    )
