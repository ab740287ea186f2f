"""Beam search against transformers' generate, on a tiny random model."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.beams import BeamSearchParams, Search
from octavo.step import Logprobs
from octavo_platforms import shaping

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPT = [5, 9, 3]
EOS = 21


@pytest.fixture(scope="module")
def model() -> object:
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=24, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=EOS, pad_token_id=0, initializer_range=0.6,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(EOS) + 1] if EOS in tokens else tokens


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("width", [2, 4])
def test_beams_and_their_scores_are_those_of_transformers(
    model: object, width: int, penalty: float
) -> None:
    assert callable(model)
    assert hasattr(model, "generate")
    theirs = model.generate(
        torch.tensor([PROMPT]), num_beams=width, num_return_sequences=width, max_new_tokens=7,
        do_sample=False, early_stopping="never", length_penalty=penalty,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    params = BeamSearchParams(beam_width=width, max_tokens=7, length_penalty=penalty)
    search = Search(PROMPT, params.max_tokens, params, frozenset({EOS}))
    while search.alive:
        contexts = [[*PROMPT, *beam.tokens] for beam in search.alive]
        with torch.inference_mode():
            logits = model(torch.tensor(contexts)).logits[:, -1].numpy()
        ids, exact = shaping.most_likely(logits, 2 * width)
        logprobs = exact.astype(np.float32)
        rank = np.zeros(1, np.int32)
        search.advance(
            [
                Logprobs(logprobs[row, :1], rank, ids[row : row + 1], logprobs[row : row + 1])
                for row in range(len(contexts))
            ]
        )
    expected = [until_end(row[len(PROMPT) :].tolist()) for row in theirs.sequences]
    assert [list(beam.tokens) for beam in search.ended] == expected
    assert penalty > 0 or any(beam.reason == "stop" for beam in search.ended)
    scores = [beam.score(penalty) for beam in search.ended]
    assert np.allclose(scores, theirs.sequences_scores.numpy(), atol=1e-5)
