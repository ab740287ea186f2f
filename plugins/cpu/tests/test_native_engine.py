"""The engine on the native platform: its tokens against the oracle's logits, in any company.

One program is made for each dtype; each test puts an engine of its own on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from octavo.models.decoder import Limits
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_cpu.native import platform
from octavo_cpu.native.library import missing
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.philox import gumbel
from octavo_platforms.tensor import DType

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"{missing()}")

VOCAB = 101
LIMITS = Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4)
TOY = llama.program(llama.spec(), limits=LIMITS)
BIASED = llama.program(llama.spec(tied_embeddings=False, attention_bias=True), limits=LIMITS)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    found = run_on(Platform(platform), TOY, RandomWeights(TOY), num_blocks=40)
    yield found
    found.program.close()


@pytest.fixture(scope="module")
def oracle() -> Running:
    return run_on(Platform(OraclePlatform()), TOY, RandomWeights(TOY), num_blocks=40)


def prompts(*lengths: int) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCAB, length).tolist() for length in lengths]


def test_logits_are_those_of_the_oracle(running: Running, oracle: Running) -> None:
    (prompt,) = prompts(29)
    np.testing.assert_allclose(running.logits(prompt), oracle.logits(prompt), rtol=1e-4, atol=1e-5)


def test_logits_are_the_same_bits_in_any_chunks(running: Running) -> None:
    (prompt,) = prompts(29)
    whole = running.logits(prompt)
    for chunk in (16, 7, 1):
        np.testing.assert_array_equal(running.logits(prompt, chunk=chunk), whole)


def test_logits_are_the_same_bits_with_any_number_of_threads() -> None:
    (prompt,) = prompts(29)
    found = [
        run_on(Platform(platform), TOY, RandomWeights(TOY), settings=DeviceSettings(threads=n))
        for n in (1, 2, 5)
    ]
    first, *others = [each.logits(prompt) for each in found]
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_untied_weights_with_biases_are_those_of_the_oracle() -> None:
    (prompt,) = prompts(20)
    ours, exact = (
        run_on(Platform(each), BIASED, RandomWeights(BIASED)).logits(prompt)
        for each in (platform, OraclePlatform())
    )
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-5)


def test_greedy_tokens_are_those_of_the_oracle(running: Running, oracle: Running) -> None:
    given = prompts(3, 29, 17, 31, 5, 20)
    params = SamplingParams(temperature=0, max_tokens=20)
    outputs = generate(running.engine(vocab_size=VOCAB), given, params)
    for prompt, output in zip(given, outputs, strict=True):
        held = oracle.hold(prompt, output)
        assert held.is_evidence
        assert held.wrong == ()


@pytest.mark.parametrize("depth", [1, 2])
def test_seeded_tokens_are_those_of_the_oracle(
    running: Running, oracle: Running, depth: int
) -> None:
    given = prompts(3, 29, 17, 31)
    params = SamplingParams(temperature=1.0, seed=2**40 + 7, max_tokens=20)
    theirs = generate(oracle.engine(vocab_size=VOCAB), given, params)
    engine = running.engine(vocab_size=VOCAB, max_in_flight=depth)
    assert generate(engine, given, params) == theirs


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_narrow_tokens_are_those_of_the_oracle_where_it_decides(dtype: DType) -> None:
    toy = llama.program(llama.spec(), dtype=dtype, limits=LIMITS)
    running, oracle = (
        run_on(Platform(each), toy, RandomWeights(toy, scale=0.5), num_blocks=40)
        for each in (platform, OraclePlatform())
    )
    given = prompts(3, 29, 17, 31)
    params = SamplingParams(temperature=0, max_tokens=20)
    outputs = generate(running.engine(vocab_size=VOCAB), given, params)
    num_decided = 0
    for prompt, output in zip(given, outputs, strict=True):
        held = oracle.hold(prompt, output, dtype=dtype)
        num_decided += held.num_decided
        assert held.wrong == ()
    assert num_decided > 0


def test_batch_mates_change_no_token(running: Running) -> None:
    given = prompts(3, 29, 17, 31, 5, 20)
    params = SamplingParams(temperature=0.8, seed=11, max_tokens=12)
    together = generate(running.engine(vocab_size=VOCAB), given, params)
    alone = [generate(running.engine(vocab_size=VOCAB), [each], params)[0] for each in given]
    assert together == alone


def test_noise_has_the_bits_of_the_reference(running: Running) -> None:
    given, seed = prompts(4), 2**63 + 12345
    params = SamplingParams(temperature=2.0, seed=seed - 2**64, max_tokens=40)
    (output,) = generate(running.engine(vocab_size=VOCAB), given, params)
    context = given[0] + output
    scores = running.logits(context, chunk=16)[len(given[0]) - 1 : -1] / np.float32(2.0)
    scores = scores + gumbel(seed, np.arange(len(given[0]), len(context)), VOCAB)
    assert scores.argmax(-1).tolist() == output
