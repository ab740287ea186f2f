"""Every parameter of sampling on the native program, where the host chooses what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.models.decoder import Limits
from octavo.testing import shaped
from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_cpu.native import platform
from octavo_cpu.native.library import missing
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import DType

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"{missing()}")

VOCAB = 101
LIMITS = Limits(max_step_tokens=48, max_requests=12, max_blocks=16, block_size=4)
PROMPTS = [
    np.random.default_rng(length).integers(0, VOCAB, length).tolist() for length in (3, 22, 14)
]
DTYPES: tuple[DType, ...] = ("float32", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_token_is_the_one_that_the_reference_chooses(dtype: DType) -> None:
    program = llama.program(llama.spec(), dtype=dtype, limits=LIMITS)
    running = run_on(Platform(platform), program, RandomWeights(program), num_blocks=120)
    assert {"sample_cut", "sample_shaped", "tell", "score"}.isdisjoint(running.program.entries)
    asked = shaped.everything(PROMPTS)
    del asked["told"]  # which nothing but an entry can score a prompt for
    made = shaped.run(running.engine(vocab_size=VOCAB, max_in_flight=2), asked)
    for name, (prompt, params) in asked.items():
        assert len(made[name].tokens) >= 6
        assert shaped.wrong_tokens(running, prompt, params, made[name].tokens) == [], name
    running.program.close()
