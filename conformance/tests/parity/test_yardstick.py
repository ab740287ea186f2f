"""What the table lets pass in bfloat16: no wrong router, though half its rows may look right.

A mistake is one in what a config is read as. Each is seen to fail in bfloat16 alone, where every
number is rounded and only how far off logits are can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from octavo.models.experts import ExpertSpec
from octavo.models.spec import DecoderSpec
from octavo_platforms import discover

from .families import ROWS
from .measured import Measured, measure
from .reference import Change, as_read


def with_experts(change: Mapping[str, object]) -> Change:
    """Read a config's experts wrong."""

    def changed(spec: DecoderSpec) -> DecoderSpec:
        assert isinstance(spec.experts, ExpertSpec)
        return replace(spec, experts=replace(spec.experts, **change))  # type: ignore[arg-type]

    return changed


WRONG: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "shares of all, not of the chosen": ("mixtral: plain", {"renormalise": False}),
    "a twentieth too much": ("mixtral: plain", {"factor": 1.05}),
    "one expert too few": ("qwen3_moe: plain", {"top_k": 2}),
    "half as near": ("phimoe: plain", {"nearness": 0.2}),
    "groups by their two best": ("deepseek_v2: plain", {"group_score": "two best"}),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_router_does_not_hold_in_bfloat16(mistake: str, tmp_path: Path) -> None:
    name, change = WRONG[mistake]
    assert held(name, tmp_path, with_experts(change)).problems != ()


@pytest.mark.parametrize("name", sorted({name for name, _ in WRONG.values()}))
def test_right_router_holds_in_bfloat16(name: str, tmp_path: Path) -> None:
    assert held(name, tmp_path, as_read).problems == ()


def test_a_few_percent_of_a_scale_do_not_hold_where_no_experts_are_chosen(tmp_path: Path) -> None:
    def wrong(spec: DecoderSpec) -> DecoderSpec:
        return replace(spec, scales=replace(spec.scales, residual=0.61))

    assert held("granite: plain", tmp_path, as_read).problems == ()
    assert held("granite: plain", tmp_path, wrong).problems != ()


def held(name: str, folder: Path, change: Change) -> Measured:
    """Hold a row of the table in bfloat16."""
    (row,) = (each for each in ROWS if each.name == name)
    return measure(row, discover.load("cpu"), folder, "bfloat16", change=change)
