"""From a setting to what is placed: rounding is told in the plan, done, and refused elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from octavo.config import Settings, from_environment
from octavo.errors import ModelError, OperatorError
from octavo.graph.passes import optimised
from octavo.loading import plan
from octavo.testing.loaded import byte_backend
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo.weights.find import Checkpoint, find
from octavo.weights.load import from_checkpoint, load
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import bind
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.tensor import to_float

from .written import Floats

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
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}
FP8 = {"quant_method": "fp8", "activation_scheme": "static"}


def folder(path: Path, *, is_fp8: bool = False, **more: object) -> Path:
    source = RandomWeights(llama.program(llama.spec()))
    plain = {name: source.read(name).array.astype(np.float32) for name in source.names()}
    tensors = {name: torch.from_numpy(each) for name, each in plain.items()}
    for name in [each for each in tensors if is_fp8 and each.endswith("_proj.weight")]:
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = torch.tensor(0.5)
        tensors[name.removesuffix("weight") + "input_scale"] = torch.tensor(0.5)
    said = {"quantization_config": FP8} if is_fp8 else {}
    (path / "config.json").write_text(json.dumps({**CONFIG, **said, **more}))
    (path / "tokenizer.json").write_text(byte_backend().to_str())
    save_file(tensors, path / "model.safetensors")
    return path


def settings(path: Path, quantization: str | None) -> Settings:
    made = replace(from_environment({}), model=str(path), device="oracle", max_requests=4)
    return replace(made, quantization=quantization)


def placed(checkpoint: Checkpoint) -> Mapping[str, Floats]:
    written = from_checkpoint(llama.program(llama.spec()), checkpoint)
    program = optimised(written, one_step=False)
    platform = Platform(OraclePlatform())
    context = platform.open_device((0,), DeviceSettings())
    memory = platform.make_memory(context)
    tensors = load(program, bind(program, platform, context), checkpoint, memory)
    return {name: to_float(memory.to_host(each)) for name, each in tensors.items()}


def test_what_is_placed_is_rounded_and_the_rest_is_not(tmp_path: Path) -> None:
    found = find(str(folder(tmp_path)))
    plain, rounded = placed(found), placed(replace(found, rounding="int8"))
    changed = {name for name in plain if not np.array_equal(plain[name], rounded[name])}
    assert changed == {name for name in plain if "_proj" in name}
    for name in changed:
        scale = np.abs(plain[name]).max(axis=1, keepdims=True) / np.float32(127)
        expected = np.rint(plain[name] / scale) * scale
        np.testing.assert_allclose(rounded[name], expected, rtol=1e-6, atol=0)


def test_the_plan_tells_what_a_checkpoint_holds_and_what_is_asked_for(tmp_path: Path) -> None:
    path = folder(tmp_path, is_fp8=True)
    told = str(plan(settings(path, "int4")))
    assert "fp8; 14 weights made plain when placed (by reference)" in told
    assert "static rounding of activations is not applied" in told
    assert "14 scales of activations or cache are not applied" in told
    assert "linear layers rounded as int4 when placed" in told


def test_a_plain_checkpoint_has_no_line_about_it(tmp_path: Path) -> None:
    assert "quantised" not in str(plan(settings(folder(tmp_path), None)))


def test_an_unknown_format_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"--quantization int3 is not known\. Choose one of"):
        plan(settings(folder(tmp_path), "int3"))


def test_a_model_without_a_graph_is_not_rounded_in_silence(tmp_path: Path) -> None:
    path = folder(tmp_path, architectures=["OwnForCausalLM"])
    with pytest.raises(ModelError, match="--quantization rounds weights of models with a graph"):
        plan(settings(path, "int8"))
