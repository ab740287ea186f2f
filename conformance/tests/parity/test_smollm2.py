"""SmolLM2-135M-Instruct, real weights: from its GGUF file and from a folder of safetensors.

The reference reads the GGUF file with its own code, so that our reading of the file, of its
row order and of its tokenizer is held against another's. Runs where the demo model is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from octavo.config import from_environment
from octavo.models.decoder import Limits
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running, generate
from octavo.testing.law import hold
from octavo.weights.demo import SMOLLM2
from octavo.weights.find import find
from octavo_platforms import discover

from .reference import Reference, ours, reference_logits

TEXT = (
    "The sun rises in the east and sets in the west. Water boils at one hundred degrees "
    "Celsius at sea level, and it freezes at zero. In 1969, people first walked on the Moon."
)
LIMITS = Limits(max_step_tokens=64, max_requests=4, max_blocks=16, block_size=16)


@pytest.fixture(scope="module")
def gguf() -> Path:
    path = from_environment().cache_dir / "models" / Path(SMOLLM2.member).name
    if not path.is_file():
        pytest.skip(f"needs the demo model at {path}: python -m octavo.weights.demo fetches it")
    return path


@pytest.fixture(scope="module")
def reference(gguf: Path) -> Reference:
    model: Reference = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    return model


@pytest.fixture(scope="module")
def token_ids(gguf: Path) -> list[int]:
    return find(str(gguf)).tokenizer().encode(TEXT, add_special_tokens=False)


@pytest.fixture(scope="module")
def running(gguf: Path) -> Iterator[Running]:
    loaded = ours(gguf, discover.load("cpu"), limits=LIMITS)
    yield loaded
    loaded.program.close()


def test_logits_of_the_gguf_file_are_those_of_transformers(
    running: Running, reference: Reference, token_ids: list[int]
) -> None:
    expected = reference_logits(reference, token_ids)
    found = running.logits(token_ids, chunk=32)
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_greedy_tokens_are_those_of_transformers(
    running: Running, reference: Reference, token_ids: list[int]
) -> None:
    engine = running.engine(vocab_size=49152)
    prompts = [token_ids, token_ids[:7], token_ids[5:25]]
    outputs = generate(
        engine, prompts, SamplingParams(temperature=0, max_tokens=64, ignore_eos=True)
    )
    logits = [
        reference_logits(reference, prompt + output)[len(prompt) - 1 : -1]
        for prompt, output in zip(prompts, outputs, strict=True)
    ]
    held = hold(
        np.concatenate(logits), [token for output in outputs for token in output], "float32"
    )
    assert held.is_evidence
    assert held.wrong == ()


def test_a_folder_of_safetensors_gives_the_same_logits(
    running: Running,
    reference: Reference,
    gguf: Path,
    token_ids: list[int],
    tmp_path: Path,
) -> None:
    reference.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(tmp_path)
    folder = ours(tmp_path, discover.load("cpu"), limits=LIMITS)
    np.testing.assert_allclose(
        folder.logits(token_ids[:20]), running.logits(token_ids[:20]), rtol=1e-4, atol=1e-4
    )


def test_perplexity_is_that_of_transformers_within_a_thousandth(
    running: Running, reference: Reference, token_ids: list[int]
) -> None:
    exact = _perplexity(reference_logits(reference, token_ids), token_ids)
    found = _perplexity(running.logits(token_ids), token_ids)
    assert abs(found / exact - 1) < 1e-3


def test_bfloat16_keeps_the_perplexity(
    reference: Reference, gguf: Path, token_ids: list[int]
) -> None:
    narrow = ours(gguf, discover.load("cpu"), dtype="bfloat16", limits=LIMITS)
    exact = _perplexity(reference_logits(reference, token_ids), token_ids)
    found = _perplexity(narrow.logits(token_ids), token_ids)
    assert abs(found / exact - 1) < 0.01


def _perplexity(logits: np.ndarray[tuple[int, ...], np.dtype[np.float32]], ids: list[int]) -> float:
    rows = logits[:-1].astype(np.float64)
    chosen = rows[np.arange(len(rows)), ids[1:]]
    return float(np.exp(np.mean(np.logaddexp.reduce(rows, axis=1) - chosen)))
