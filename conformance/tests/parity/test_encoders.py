"""Every encoder against Hugging Face transformers, on tiny random checkpoints that it wrote.

This is the quick part: float32, torch on the CPU. `table` has the rest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from octavo.models.registry import ENCODERS
from octavo_platforms import discover

from .encoded import holds, measure_encoder
from .encoders import ENCODER_ROWS, EncoderRow
from .families import ROWS


@pytest.fixture(params=ENCODER_ROWS, ids=[row.name for row in ENCODER_ROWS])
def row(request: pytest.FixtureRequest) -> EncoderRow:
    found: EncoderRow = request.param
    return found


def test_every_family_of_encoders_has_a_row_that_pools_and_one_that_scores() -> None:
    shown = {(row.family, row.scores) for row in ENCODER_ROWS}
    assert {(family.name, scores) for family in ENCODERS for scores in (True, False)} <= shown
    assert {row.family for row in ENCODER_ROWS} - {family.name for family in ENCODERS} == {"qwen3"}
    names = [row.name for row in ROWS] + [row.name for row in ENCODER_ROWS]
    assert len(set(names)) == len(names)


def test_rows_alone_and_together_are_those_of_transformers(row: EncoderRow, tmp_path: Path) -> None:
    assert measure_encoder(row, discover.load("cpu"), tmp_path).problems == ()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("modernbert: pooled", "local_attention", 14),
        ("modernbert: pooled", "layer_types", ["sliding_attention"] * 4),
        ("roberta: scored", "pad_token_id", 2),
        ("bert: scored", "hidden_act", "relu"),
    ],
)
def test_a_config_that_says_something_else_does_not_hold(
    name: str, key: str, value: object, tmp_path: Path
) -> None:
    (row,) = (each for each in ENCODER_ROWS if each.name == name)
    module, path = row.write(tmp_path), tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config[key] != value
    path.write_text(json.dumps({**config, key: value}))
    assert holds(row, module, discover.load("cpu"), tmp_path).problems != ()
