"""A device opened batch invariant gives families the same bits however a prompt is cut.

The suite holds the promise by a toy; here it is held where families go other ways: scores that
fall with distance, and rows that are parts of what several layers made at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.tensor import DType

from .families import ROWS
from .measured import LIMITS, prompts
from .reference import ours

SETTINGS = DeviceSettings(threads=1, batch_invariant=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["bloom: plain", "falcon: plain"])
def test_a_prompt_in_parts_has_the_bits_of_the_whole(
    name: str, dtype: DType, tmp_path: Path
) -> None:
    (row,) = (each for each in ROWS if each.name == name)
    row.write(tmp_path)
    running = ours(tmp_path, discover.load("cpu"), dtype=dtype, limits=LIMITS, settings=SETTINGS)
    prompt = prompts()[3]
    whole = running.logits(prompt, chunk=len(prompt))
    for chunk in (3, 17):
        assert np.array_equal(running.logits(prompt, chunk=chunk), whole)
