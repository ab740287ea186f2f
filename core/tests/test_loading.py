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
from octavo.errors import DeviceError, ModelError, OperatorError
from octavo.loading import choose, load, plan
from octavo.testing.loaded import byte_backend
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_platforms.rules import StepRules

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


@pytest.mark.parametrize("file", ["vocab.json", None])
def test_a_missing_tokenizer_is_known_before_weights_are_read(
    settings: Settings, tmp_path: Path, file: str | None
) -> None:
    (tmp_path / "tokenizer.json").unlink()
    if file is not None:
        (tmp_path / file).write_text("{}")
    stages: list[str] = []
    with pytest.raises(ModelError, match=rf"no tokenizer\.json.*{file or 'Fetch it'}"):
        load(settings, report=stages.append)
    assert "reading" not in [stage.split()[0] for stage in stages]


def test_wishes_of_scheduling_reach_the_engine_and_change_no_token(settings: Settings) -> None:
    wished = replace(
        settings,
        max_step_tokens=40,
        scheduling_policy="priority",
        long_prefill_tokens=3,
        prefill_interval=2,
        watermark=0.1,
    )
    prompts = [[1, 2, 3, 4, 5, 6, 7], [8, 9] * 10]
    params = SamplingParams(temperature=0, max_tokens=5)
    found = []
    for each in (settings, wished):
        loaded = load(each)
        outputs = LLM(loaded).generate(prompts, params, use_tqdm=False)
        found.append([output.outputs[0].token_ids for output in outputs])
    assert found[0] == found[1]
    limits = loaded.engine.limits
    assert limits.policy == "priority"
    assert limits.rules == StepRules(max_part_tokens=3, prompt_interval=2)
    assert limits.num_blocks is not None
    assert limits.num_spare_blocks == (limits.num_blocks - 1) // 10 > 0


def test_whole_prompts_need_steps_that_hold_a_context(settings: Settings) -> None:
    wished = replace(settings, chunked_prefill=False, max_step_tokens=255)
    with pytest.raises(OperatorError, match="--max-num-batched-tokens 256"):
        load(wished)


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


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (
            ["sliding_attention", "full_attention"],
            ["64 blocks of 16", "13 blocks for layers that see 9"],
        ),
        (["sliding_attention"] * 2, ["13 blocks of 16 tokens"]),
    ],
)
def test_layers_with_a_window_have_fewer_blocks_and_the_plan_says_so(
    settings: Settings, kinds: list[str], told: list[str]
) -> None:
    assert settings.model is not None
    own = {"architectures": ["MinistralForCausalLM"], "sliding_window": 9, "layer_types": kinds}
    (Path(settings.model) / "config.json").write_text(json.dumps({**CONFIG, **own}))
    asked = replace(settings, max_step_tokens=16)
    loaded = load(asked)
    shown = str(loaded.plan)
    assert all(words in shown for words in told), shown
    assert "4 requests of 256 tokens at once" in shown
    stats = loaded.engine.stats
    assert stats.free_blocks == sum(int(words.split()[0]) for words in told)
    prompts = [list(range(70)), [4, 5]]
    params = SamplingParams(temperature=0, max_tokens=9, ignore_eos=True)
    outputs = LLM(loaded).generate(prompts, params, use_tqdm=False)
    again = LLM(load(replace(asked, max_requests=1))).generate(prompts, params, use_tqdm=False)
    assert [each.outputs[0].token_ids for each in outputs] == [
        each.outputs[0].token_ids for each in again
    ]
    assert loaded.engine.stats.held_blocks == 0


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
