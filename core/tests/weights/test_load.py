"""Loading: what a checkpoint must hold, and what is said when it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from octavo.errors import ModelError
from octavo.graph.passes import optimised
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo.weights.find import Checkpoint, find
from octavo.weights.load import from_checkpoint, load
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import bind
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import taken

Arrays = dict[str, npt.NDArray[np.float32]]
NORM = "model.norm.weight"


@pytest.fixture
def program() -> ProgramDef:
    return llama.program(llama.spec())


@pytest.fixture
def tensors(program: ProgramDef) -> Arrays:
    source = RandomWeights(program)
    return {name: source.read(name).array.astype(np.float32) for name in source.names()}


def checkpoint(folder: Path, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Checkpoint:
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    save_file(dict(tensors), folder / "model.safetensors")
    return find(str(folder))


def load_all(program: ProgramDef, found: Checkpoint) -> int:
    better = optimised(from_checkpoint(program, found), one_step=False)
    platform = Platform(OraclePlatform())
    context = platform.open_device((0,), DeviceSettings())
    binding = bind(better, platform, context)
    return len(load(better, binding, found, platform.make_memory(context)))


def test_every_weight_is_placed(program: ProgramDef, tensors: Arrays, tmp_path: Path) -> None:
    merged_away = 2 * (2 + 1)
    found = checkpoint(tmp_path, tensors)
    assert load_all(program, found) == len(program.weights) - merged_away


def test_a_missing_tensor_is_named_before_anything_is_read(
    program: ProgramDef, tensors: Arrays, tmp_path: Path
) -> None:
    del tensors[NORM]
    with pytest.raises(ModelError, match=rf"lacks 1 of 20 tensors: {NORM}"):
        from_checkpoint(program, checkpoint(tmp_path, tensors))


def test_a_tensor_that_nothing_would_use_is_refused(
    program: ProgramDef, tensors: Arrays, tmp_path: Path
) -> None:
    tensors["model.layers.0.self_attn.q_proj.bias"] = np.zeros(48, np.float32)
    with pytest.raises(ModelError, match=r"1 tensors that this model would not use: .*q_proj.bias"):
        from_checkpoint(program, checkpoint(tmp_path, tensors))


def test_frequencies_that_are_made_anew_and_a_spare_tied_head_are_not_missed(
    program: ProgramDef, tensors: Arrays, tmp_path: Path
) -> None:
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(4, np.float32)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    from_checkpoint(program, checkpoint(tmp_path, tensors))


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(
    program: ProgramDef, tensors: Arrays, tmp_path: Path
) -> None:
    tensors[NORM] = np.ones(47, np.float32)
    found = checkpoint(tmp_path, tensors)
    with pytest.raises(
        ModelError,
        match=rf"model\.safetensors has the tensor '{NORM}' of the shape \[47\].*expects \[48\]",
    ):
        from_checkpoint(program, found)


def test_a_file_of_the_models_body_alone_is_read_under_its_shorter_names(
    program: ProgramDef, tensors: Arrays, tmp_path: Path
) -> None:
    bare = {name.removeprefix("model."): array for name, array in tensors.items()}
    masks = {"layers.0.attn.bias": np.zeros(4, np.float32)}
    found = from_checkpoint(program, checkpoint(tmp_path, {**bare, **masks}))
    assert {name for each in found.weights for name in taken(each.recipe)} == bare.keys()
