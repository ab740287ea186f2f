"""Two engines that share experts and no requests: the tokens of one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from octavo.sampling import SamplingParams
from octavo.testing import ranked
from octavo.testing.apart import WEIGHT_SCALE
from octavo.testing.drive import generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.together import together
from octavo_platforms import discover

PLATFORM = "cpu"
VOCAB_SIZE = 101
MAX_TOKENS = (20, 5)


def prompts() -> list[list[list[int]]]:
    """Give each rank its prompts: rank 0 more and longer ones."""
    draw = np.random.default_rng(8)
    lengths = ((41, 3, 18, 7), (2, 9))
    return [[draw.integers(0, VOCAB_SIZE, n).tolist() for n in each] for each in lengths]


def test_engines_that_share_experts_give_the_tokens_of_one_device() -> None:
    found = together(
        "octavo.testing.apart:run",
        ranks=2,
        device=PLATFORM,
        toy="experts",
        prompts=prompts(),
        max_tokens=MAX_TOKENS,
        depth=2,
    )
    whole = ranked.TOYS["experts"]()
    source = RandomWeights(whole, scale=WEIGHT_SCALE)
    running = run_on(discover.load(PLATFORM), whole, source, num_blocks=ranked.NUM_BLOCKS)
    for told, own, most in zip(found, prompts(), MAX_TOKENS, strict=True):
        settings = [
            SamplingParams(temperature=0.8 * (n % 2), seed=n, max_tokens=most)
            for n in range(len(own))
        ]
        right = generate(running.engine(vocab_size=VOCAB_SIZE), own, settings)
        assert cast(Mapping[str, Sequence[Sequence[int]]], told)["outputs"] == right
    first, second = (cast(Mapping[str, int], told)["num_empty"] for told in found)
    assert first == 0
    assert second >= MAX_TOKENS[0] - MAX_TOKENS[1] - 4
