"""Every parameter of sampling on a device that is strict: nothing waits, everything is padded."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import octavo_emulated
from octavo.models.decoder import Limits
from octavo.testing import shaped
from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_platforms.loaded import Platform

VOCAB = 101
LIMITS = Limits(
    max_step_tokens=48, max_requests=12, max_blocks=16, block_size=4, max_logprobs=shaped.LIKELY
)
PROMPTS = [
    np.random.default_rng(length).integers(0, VOCAB, length).tolist() for length in (3, 22, 14)
]


def test_every_token_is_the_one_that_the_reference_chooses() -> None:
    program = llama.program(llama.spec(), limits=LIMITS)
    running = run_on(
        Platform(octavo_emulated.platform), program, RandomWeights(program), num_blocks=120
    )
    engine = running.engine(vocab_size=VOCAB, max_in_flight=2)
    asked = shaped.everything(PROMPTS)
    made = shaped.run(engine, asked)
    for name, (prompt, params) in asked.items():
        assert len(made[name].tokens) >= 6
        assert shaped.wrong_tokens(running, prompt, params, made[name].tokens) == [], name
