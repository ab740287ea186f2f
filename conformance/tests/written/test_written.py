"""Checkpoints that each scheme's own library wrote, beside what that library makes of them.

The fixtures are files; `written.write` makes them, where the libraries are. That they are read as
their libraries read them is held here with none of them installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from octavo.errors import ModelError
from octavo.weights.find import find
from octavo_platforms import discover
from octavo_platforms.tensor import to_float

from ..parity.reference import ours
from .catalogue import ROWS
from .write import PROMPT

FIXTURES = Path(__file__).parent / "fixtures"
MODEL = "model.safetensors"
# All multiply in float32 but one, which gives bfloat16 back, and so rounds weights and all above.
ROUNDING: Mapping[str, float] = {"compressed-nvfp4": 2.0**-8}
EXACT, LOGITS = 2.0**-22, 2e-5
# A byte that is no number as a power of two, and the fp8 code that is none.
NO_POWER, NO_FP8 = 255, 0x7F
SCALES = ("scales", "scale", "scale_inv", "scale_2", "global_scale", "absmax", "SCB", "quant_map")


@pytest.mark.parametrize("name", list(ROWS))
def test_a_weight_is_what_its_own_library_makes_of_it(name: str) -> None:
    source = find(str(FIXTURES / name)).source
    expected = load_file(FIXTURES / name / "expected.safetensors")
    (weight,) = expected.keys() - {"logits"}
    found, exact = to_float(source.read(weight)), expected[weight].numpy()
    np.testing.assert_allclose(found, exact, rtol=ROUNDING.get(name, EXACT), atol=1e-9)


@pytest.mark.parametrize("name", list(ROWS))
def test_logits_are_those_of_the_librarys_plain_weights(name: str) -> None:
    expected = load_file(FIXTURES / name / "expected.safetensors")["logits"].numpy()
    running = ours(FIXTURES / name, discover.load("cpu"))
    try:
        found = running.logits(PROMPT)
    finally:
        running.program.close()
    off = np.sqrt(np.mean((found - expected) ** 2)) / np.std(expected)
    assert off <= 2 * ROUNDING.get(name, LOGITS), off


def _no_number(stored: torch.Tensor) -> torch.Tensor:
    """Put what is no number in the middle of a tensor."""
    damaged = stored.clone()
    flat = (damaged.view(torch.uint8) if stored.element_size() == 1 else damaged).view(-1)
    is_byte = stored.dtype in (torch.uint8, torch.float8_e8m0fnu)
    flat[flat.numel() // 2] = (
        NO_POWER if is_byte else NO_FP8 if stored.element_size() == 1 else torch.nan
    )
    return damaged


def _scale(tensors: Mapping[str, torch.Tensor]) -> str:
    """Find something that weights are multiplied by; the largest, whose middle is looked at least.

    Codes of codes cannot be wrong, but what these are multiplied by can.
    """
    nested = {name for name in tensors if name.endswith("nested_absmax")}
    found = [
        name
        for name in nested or tensors
        if name.endswith(SCALES) and "input" not in name and "activation" not in name
    ]
    return max(found, key=lambda name: tensors[name].numel())


def damaged(name: str, into: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> str:
    """Copy a fixture with one of its scales changed; give the scale's name."""
    shutil.copytree(FIXTURES / name, into)
    tensors = load_file(into / MODEL)
    chosen = _scale(tensors)
    tensors[chosen] = change(chosen, tensors[chosen])
    save_file(tensors, into / MODEL)
    return chosen


@pytest.mark.parametrize("name", list(ROWS))
def test_a_scale_that_is_no_number_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    chosen = damaged(name, tmp_path / "bad", lambda _, stored: _no_number(stored))
    with pytest.raises(ModelError) as caught:
        ours(tmp_path / "bad", discover.load("cpu"))
    assert chosen in str(caught.value)
    assert "not all finite" in str(caught.value)


@pytest.mark.parametrize("name", list(ROWS))
def test_scales_that_were_cut_are_refused_by_their_name(name: str, tmp_path: Path) -> None:
    def cut(chosen: str, stored: torch.Tensor) -> torch.Tensor:
        keeps = stored.reshape(-1)[: max(2, stored.numel() - 1)]
        return keeps if stored.numel() > 1 else stored.reshape(-1).repeat(7)

    chosen = damaged(name, tmp_path / "bad", cut)
    with pytest.raises(ModelError) as caught:
        ours(tmp_path / "bad", discover.load("cpu"))
    assert chosen in str(caught.value)


@pytest.mark.parametrize("name", list(ROWS))
def test_the_versions_that_wrote_a_fixture_are_in_it(name: str) -> None:
    with (FIXTURES / name / "expected.safetensors").open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little")).decode()
    assert all(f'"{library}":"' in header for library in ROWS[name].libraries)
