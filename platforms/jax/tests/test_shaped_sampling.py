"""Every parameter of sampling through the engine, on JAX, padded to buckets."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")

from octavo.models.decoder import Limits
from octavo.testing import shaped
from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_jax.platform import JaxPlatform
from octavo_platforms.ladder import Ladder
from octavo_platforms.loaded import Platform

VOCAB = 101
LIMITS = Limits(
    max_step_tokens=48, max_requests=12, max_blocks=16, block_size=4, max_logprobs=shaped.LIKELY
)
PROMPTS = [
    np.random.default_rng(length).integers(0, VOCAB, length).tolist() for length in (3, 22, 14)
]
CLOSE = 2e-5


def test_every_token_is_the_one_that_the_reference_chooses_and_logprobs_are_right() -> None:
    program = llama.program(llama.spec(), limits=LIMITS)
    one_size = Ladder(least=LIMITS.max_step_tokens, factor=2)
    few_compilations = JaxPlatform(
        name="jax", device="cpu", vendor="host", tokens=one_size, rows=one_size
    )
    platform = Platform(few_compilations)
    running = run_on(platform, program, RandomWeights(program), num_blocks=120)
    engine = running.engine(vocab_size=VOCAB, max_in_flight=2)
    asked = shaped.everything(PROMPTS)
    made = shaped.run(engine, asked)
    for name, (prompt, params) in asked.items():
        assert len(made[name].tokens) >= 6
        assert shaped.wrong_tokens(running, prompt, params, made[name].tokens) == [], name
    prompt, tokens = asked["told"][0], made["told"].tokens
    context = [*prompt, *tokens]
    logits = running.logits([*context, *[0] * (shaped.WIDEST - len(context))])
    for place, told in enumerate(made["told"].logprobs, len(prompt)):
        ids = np.array(context[place : place + 1], np.int32)
        before = logits[place - 1 : place]
        assert shaped.worst_logprob(before, ids, told, shaped.LIKELY) < CLOSE
    (scored,) = made["told"].scored
    ids = np.array(prompt[1:], np.int32)
    before = logits[: len(prompt) - 1]
    assert shaped.worst_logprob(before, ids, scored.logprobs, shaped.LIKELY) < CLOSE
