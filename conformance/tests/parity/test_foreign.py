"""Models that have no graph here, against transformers: through the engine, as users load them.

Tiny random checkpoints that transformers wrote. Each is served with short steps, so that
prompts come in chunks and beside other requests' tokens, and asked twice, so that the second
time finds its prefixes remembered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from octavo import LLM, SamplingParams
from octavo.config import Settings, from_environment
from octavo.errors import ClientError, ModelError
from octavo.loading import load, plan
from octavo.testing.law import hold
from octavo.testing.loaded import byte_backend
from octavo_platforms import discover
from octavo_platforms.tensor import DType

from .reference import Reference, reference_logits

VOCAB = 97
OUTPUT_TOKENS = 64
STEP_TOKENS = 24
SIZES: Mapping[str, object] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
KINDS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "grouped heads with biases": ("seed_oss", GROUPED),
    "partial rotary positions, parallel residual": ("phi", {"partial_rotary_factor": 0.5}),
    "learned positions": ("gpt_bigcode", {}),
    "what its family does not have": ("opt", {"do_layer_norm_before": False, "ffn_dim": 80}),
    "experts": ("flex_olmo", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
}


def written(folder: Path, kind: str, options: Mapping[str, object]) -> PreTrainedModel:
    """Write a checkpoint with random weights, and give the module it is of."""
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind].from_dict({**SIZES, **options})
    module: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    module.train(False)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    module.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_backend().to_str())
    return module


def served(folder: Path, dtype: DType = "float32") -> Settings:
    return replace(
        from_environment({}),
        model=str(folder),
        device="cpu",
        dtype=dtype,
        max_requests=4,
        max_step_tokens=STEP_TOKENS,
        kv_cache_bytes=4 << 20,
    )


def prompts() -> list[list[int]]:
    generator = np.random.default_rng(0)
    found = [generator.integers(3, VOCAB, size).tolist() for size in (3, 40, 17, 61)]
    return [*found, found[3][:50]]


@pytest.fixture(params=list(KINDS))
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, PreTrainedModel]:
    return tmp_path, written(tmp_path, *KINDS[request.param])


def test_greedy_tokens_are_those_of_transformers_in_chunks_beside_others_and_remembered(
    checkpoint: tuple[Path, Reference],
) -> None:
    path, reference = checkpoint
    loaded = load(served(path))
    assert "without a graph" in str(loaded.plan)
    model, given = LLM(loaded), prompts()
    params = SamplingParams(temperature=0, max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    outputs = [
        list(each.outputs[0].token_ids)
        for _ in range(2)
        for each in model.generate(given, params, use_tqdm=False)
    ]
    assert loaded.engine.stats.prefix_hit_tokens >= sum(len(each) // 16 * 16 for each in given)
    assert max(len(each) for each in given) > 2 * STEP_TOKENS
    logits = [
        reference_logits(reference, prompt + output)[len(prompt) - 1 : -1]
        for prompt, output in zip([*given, *given], outputs, strict=True)
    ]
    held = hold(
        np.concatenate(logits), [token for output in outputs for token in output], "float32"
    )
    assert held.num_tokens == 2 * len(given) * OUTPUT_TOKENS
    assert held.is_evidence
    assert held.wrong == ()


def test_the_seed_and_not_the_batch_decides_what_is_sampled(tmp_path: Path) -> None:
    written(tmp_path, "seed_oss", GROUPED)
    params = SamplingParams(temperature=1.0, seed=7, max_tokens=16, ignore_eos=True)
    model, given = LLM(load(served(tmp_path))), prompts()
    together = model.generate(given, params, use_tqdm=False)
    alone = LLM(load(served(tmp_path))).generate(given[:1], params, use_tqdm=False)
    assert alone[0].outputs[0].token_ids == together[0].outputs[0].token_ids


def test_every_choice_but_a_prompts_score_is_offered_without_a_graph(tmp_path: Path) -> None:
    reference = written(tmp_path, *KINDS["experts"])
    loaded = load(served(tmp_path))
    assert "without a graph" in str(loaded.plan)
    model, given = LLM(loaded), prompts()
    greedy = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, logprobs=3)
    params = [
        greedy,
        replace(greedy, temperature=1.0, top_k=1),
        replace(greedy, allowed_token_ids=[5, 6, 7], frequency_penalty=1.0),
    ]
    plain, cut, shaped = (
        each.outputs[0] for each in model.generate([given[1]] * 3, params, use_tqdm=False)
    )
    assert cut.token_ids == plain.token_ids
    assert set(shaped.token_ids) == {5, 6, 7}
    logits = reference_logits(reference, given[1] + plain.token_ids)[len(given[1]) - 1 : -1]
    exact = torch.log_softmax(torch.from_numpy(logits), -1).numpy()
    assert plain.logprobs is not None
    for row, told in zip(exact, plain.logprobs, strict=True):
        assert sorted(told) == sorted(row.argsort()[-3:].tolist())
        assert all(abs(told[token].logprob - row[token]) < 1e-4 for token in told)
    with pytest.raises(ClientError, match="'prompt_logprobs' cannot be used"):
        model.generate([given[0]], replace(greedy, prompt_logprobs=0), use_tqdm=False)


def test_two_steps_in_flight_give_the_tokens_of_one(tmp_path: Path) -> None:
    probe = discover.load("emulated").probe()
    if not probe.found:
        pytest.skip(probe.words)
    written(tmp_path, "seed_oss", GROUPED)
    settings = replace(served(tmp_path), device="emulated")
    params = SamplingParams(temperature=1.0, seed=7, max_tokens=16, ignore_eos=True)
    one, two = (
        LLM(load(replace(settings, max_in_flight=depth))).generate(
            prompts(), params, use_tqdm=False
        )
        for depth in (1, 2)
    )
    assert [each.outputs[0].token_ids for each in one] == [
        each.outputs[0].token_ids for each in two
    ]


def test_bfloat16_is_proved_and_runs(tmp_path: Path) -> None:
    written(tmp_path, "phi", {})
    model = LLM(load(served(tmp_path, "bfloat16")))
    params = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
    (output,) = model.generate([[5, 6, 7]], params, use_tqdm=False)
    assert len(output.outputs[0].token_ids) == 8


def test_a_plan_reads_no_weight_and_counts_them_all(tmp_path: Path) -> None:
    module = written(tmp_path, "seed_oss", {**GROUPED, "tie_word_embeddings": True})
    weights = tmp_path / "model.safetensors"
    header = weights.read_bytes()
    with weights.open("r+b") as file:  # a sparse tail: shapes are whole, numbers are gone
        file.truncate(8 + int.from_bytes(header[:8], "little"))
        file.truncate(len(header))
    made = plan(served(tmp_path))
    assert made.weight_bytes == 4 * sum(each.numel() for each in module.parameters())
    assert "entry attend" in made.full()
    assert "octavo_cpu" in made.full()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 3}, "lacks 12 tensors"),
        ({"num_hidden_layers": 1}, "holds, unused, 12 tensors"),
        ({"intermediate_size": 96}, "holds in another shape 6 tensors"),
    ],
)
def test_files_that_do_not_fit_their_config_are_refused_by_tensor(
    tmp_path: Path, change: Mapping[str, object], words: str
) -> None:
    written(tmp_path, "seed_oss", GROUPED)
    path = tmp_path / "config.json"
    config = {**json.loads(path.read_text()), **change}
    config["layer_types"] = ["full_attention"] * int(config["num_hidden_layers"])
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=words):
        load(served(tmp_path))
