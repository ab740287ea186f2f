"""What rounding costs the real model, by a slice of the text that `./dev perplexity` scores.

That we foretell a text as well as transformers says is in `parity/test_smollm2.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from octavo.config import from_environment
from octavo.weights.demo import SMOLLM2

from .perplexity import HALF, by_octavo, perplexity, token_ids_of

NUM_TOKENS = 192
# As a share of the perplexity; `./dev perplexity` has the whole text's. The model's own blocks of
# 32 numbers stand on sixteen levels, so that int4's groups are laid across two of them.
COST: Mapping[str, tuple[int, float]] = {"int8": (0, 0.01), "fp8": (0, 0.03), "int4": (HALF, 0.2)}


def test_perplexity_is_two_where_every_token_is_one_of_two() -> None:
    logits = np.full((5, 7), -1e9, np.float32)
    logits[:, 2:4] = 1.5
    assert perplexity(logits, [2, 3, 3, 2, 2]) == pytest.approx(2)


def test_rounding_costs_the_demo_model_little() -> None:
    path = from_environment().cache_dir / "models" / Path(SMOLLM2.member).name
    if not path.is_file():
        pytest.skip(f"needs the demo model at {path}: python -m octavo.weights.demo fetches it")
    token_ids = token_ids_of(path, NUM_TOKENS)
    exact = by_octavo(path, token_ids)
    for name, (turn, most) in COST.items():
        found = by_octavo(path, token_ids, rounding=name, turn=turn)
        assert found != exact, "nothing was rounded"
        assert abs(found / exact - 1) <= most, name
