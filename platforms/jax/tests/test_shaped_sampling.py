"""Every parameter of sampling through the engine, on JAX, padded to buckets."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")

from octavo.testing import shaped
from octavo_jax.platform import JaxPlatform
from octavo_platforms.ladder import Ladder
from octavo_platforms.loaded import Platform

CLOSE = 2e-5


def test_every_token_is_the_one_that_the_reference_chooses_and_logprobs_are_right() -> None:
    one_size = Ladder(least=shaped.LIMITS.max_step_tokens, factor=2)
    few_compilations = JaxPlatform(
        name="jax", device="cpu", vendor="host", tokens=one_size, rows=one_size
    )
    running = shaped.run_on(Platform(few_compilations))
    engine = running.engine(vocab_size=shaped.VOCAB, max_in_flight=2)
    asked = shaped.everything()
    made = shaped.run(engine, asked)
    assert shaped.who_is_wrong(running, asked, made) == []
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
