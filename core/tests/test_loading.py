"""From settings to answers, on the oracle: a checkpoint in a folder, and what can be wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from octavo import LLM, SamplingParams
from octavo.config import Settings, from_environment
from octavo.errors import DeviceError, ModelError
from octavo.loading import choose, load, plan
from octavo.testing.loaded import byte_backend
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "dtype": "float32",
    "vocab_size": 101,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "eos_token_id": 100,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    source = RandomWeights(llama.program(llama.spec()))
    tensors = {name: source.read(name).array.astype(np.float32) for name in source.names()}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "tokenizer.json").write_text(byte_backend().to_str())
    save_file(tensors, tmp_path / "model.safetensors")
    return replace(from_environment({}), model=str(tmp_path), device="oracle", max_requests=4)


def test_a_folder_becomes_a_model_that_answers(settings: Settings) -> None:
    stages: list[str] = []
    loaded = load(settings, report=stages.append)
    outputs = LLM(loaded).generate(
        [[1, 2, 3], [4, 5]], SamplingParams(temperature=0, max_tokens=5), use_tqdm=False
    )
    assert [len(each.outputs[0].token_ids) for each in outputs] == [5, 5]
    assert loaded.eos_ids >= {100}
    assert [stage.split()[0] for stage in stages] == [
        "opening",
        "binding",
        "reading",
        "compiling",
        "warming",
    ]


def test_a_plan_reads_no_weight(settings: Settings) -> None:
    assert settings.model is not None
    weights = Path(settings.model) / "model.safetensors"
    header = weights.read_bytes()
    size = 8 + int.from_bytes(header[:8], "little")
    with weights.open("r+b") as file:  # a sparse tail: shapes are whole, numbers are gone
        file.truncate(size)
        file.truncate(len(header))
    made = plan(settings)
    assert made.weight_bytes == sum(weight.num_bytes for weight in made.program.weights)
    shown = made.full()
    assert "state layout" in shown
    assert "octavo_conformance" in shown


def test_an_unknown_device_is_refused_with_those_that_are_installed(settings: Settings) -> None:
    with pytest.raises(
        DeviceError, match=r"--device quantum: there is no platform 'quantum'.*oracle"
    ):
        plan(replace(settings, device="quantum"))


def test_an_unknown_mode_is_refused_with_those_that_are_known(settings: Settings) -> None:
    with pytest.raises(DeviceError, match=r"no mode 'fast'; choose exact, rounded, padded"):
        plan(replace(settings, device="oracle:fast"))


def test_the_oracle_is_never_chosen_unasked() -> None:
    platform, _ = choose(None)
    assert platform.info.name != "oracle"


def test_a_model_that_does_not_exist_is_said_to(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no model at"):
        plan(replace(settings, model=str(tmp_path / "nowhere")))


def test_an_architecture_without_a_graph_needs_a_platform_that_runs_it(settings: Settings) -> None:
    assert settings.model is not None
    config = {**CONFIG, "architectures": ["AlienForCausalLM"]}
    (Path(settings.model) / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"AlienForCausalLM.*'oracle'.* it runs graphs alone"):
        plan(settings)


def test_a_plan_says_by_which_road_a_model_runs(settings: Settings) -> None:
    assert "as the graph of the family 'llama'" in str(plan(settings))
