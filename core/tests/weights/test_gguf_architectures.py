"""Each architecture of GGUF files: what its converter writes comes back as it was.

The files are written here as llama.cpp's converter writes them, with the names of the format's own
library, so that neither table is checked against itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from octavo.models.registry import find_family
from octavo.weights import find
from octavo.weights.rules import KEPT
from octavo_platforms.recipes import pull, taken

Floats = npt.NDArray[np.float32]
Config = Mapping[str, object]

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, WIDTH, VOCAB, EXPERTS = 2, 24, 20, 3, 1, 8, 11, 4
SIZES: Config = {
    "hidden_size": HIDDEN,
    "intermediate_size": FFN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": WIDTH,
    "vocab_size": VOCAB,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
SHORT, LONG = [1.0, 1.5, 2.0, 2.5], [1.0, 3.0, 9.0, 27.0]
GELU = {"hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True}
CONFIGS: Mapping[str, Config] = {
    "llama": {"architectures": ["LlamaForCausalLM"]},
    "mixtral": {
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": EXPERTS,
        "num_experts_per_tok": 2,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    },
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "rope_theta": 1e6},
    "qwen3moe": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_experts": EXPERTS,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": FFN,
        "norm_topk_prob": True,  # as llama.cpp takes for granted
    },
    "gemma": {"architectures": ["GemmaForCausalLM"], **GELU},
    "gemma2": {
        "architectures": ["Gemma2ForCausalLM"],
        **GELU,
        "sliding_window": 32,
        "query_pre_attn_scalar": WIDTH,
        "attn_logit_softcapping": 40.0,
        "final_logit_softcapping": 20.0,
    },
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"],
        **GELU,
        "sliding_window": 32,
        "query_pre_attn_scalar": WIDTH,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "phi3": {
        "architectures": ["Phi3ForCausalLM"],
        "sliding_window": 48,
        "original_max_position_embeddings": 128,
        "rope_scaling": {"type": "longrope", "short_factor": SHORT, "long_factor": LONG},
    },
}


def shapes(name: str, config: Config) -> dict[str, tuple[int, ...]]:
    """Give the tensors of a checkpoint, by Hugging Face's names."""
    q, kv = HEADS * WIDTH, KV_HEADS * WIDTH
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCAB, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (VOCAB, HIDDEN)
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (HIDDEN,),
        "post_attention_layernorm.weight": (HIDDEN,),
        "self_attn.o_proj.weight": (HIDDEN, q),
    }
    if name in ("gemma2", "gemma3"):
        layer |= {f"{side}_feedforward_layernorm.weight": (HIDDEN,) for side in ("pre", "post")}
    if name in ("qwen3", "qwen3moe", "gemma3"):
        layer |= {f"self_attn.{part}_norm.weight": (WIDTH,) for part in "qk"}
    if name == "phi3":
        layer["self_attn.qkv_proj.weight"] = (q + 2 * kv, HIDDEN)
        layer["mlp.gate_up_proj.weight"] = (2 * FFN, HIDDEN)
        layer["mlp.down_proj.weight"] = (HIDDEN, FFN)
    else:
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            layer[f"self_attn.{part}_proj.weight"] = (rows, HIDDEN)
            if name == "qwen2":
                layer[f"self_attn.{part}_proj.bias"] = (rows,)
        layer |= experts(name)
    for number in range(LAYERS):
        found |= {f"model.layers.{number}.{part}": shape for part, shape in layer.items()}
    return found


def experts(name: str) -> dict[str, tuple[int, ...]]:
    wide, narrow = (FFN, HIDDEN), (HIDDEN, FFN)
    if name == "mixtral":
        place = "block_sparse_moe"
        parts = {"w1": wide, "w3": wide, "w2": narrow}
    else:
        place = "mlp"
        parts = {"gate_proj": wide, "up_proj": wide, "down_proj": narrow}
    if name not in ("mixtral", "qwen3moe"):
        return {f"{place}.{part}.weight": shape for part, shape in parts.items()}
    found: dict[str, tuple[int, ...]] = {f"{place}.gate.weight": (EXPERTS, HIDDEN)}
    for expert in range(EXPERTS):
        found |= {f"{place}.experts.{expert}.{part}.weight": shape for part, shape in parts.items()}
    return found


def made(name: str, config: Config) -> dict[str, Floats]:
    """Give random tensors in steps of 1/64, to which one can be added without rounding."""
    generator = np.random.default_rng(0)
    return {
        each: generator.integers(-60, 60, shape).astype(np.float32) / np.float32(64)
        for each, shape in shapes(name, config).items()
    }


def converted(name: str, tensors: Mapping[str, Floats]) -> dict[str, Floats]:
    """Rename, stack and permute as llama.cpp's converter does."""
    arch = gguf.MODEL_ARCH["LLAMA" if name == "mixtral" else name.upper()]
    names = gguf.get_tensor_name_map(arch, LAYERS)
    stacks: dict[str, list[Floats]] = {}
    found: dict[str, Floats] = {}
    for each, values in tensors.items():
        stored = values
        if name in ("llama", "mixtral") and each.endswith(("q_proj.weight", "k_proj.weight")):
            heads = HEADS if "q_proj" in each else KV_HEADS
            stored = permute(values, heads)
        if name.startswith("gemma") and each.endswith("norm.weight"):
            stored = values + 1
        if ".experts." in each:
            before, _, rest = each.partition(".experts.")
            stacks.setdefault(f"{before}.experts.{rest.partition('.')[2]}", []).append(values)
            continue
        new = names.get_name(each, try_suffixes=(".weight", ".bias"))
        assert new is not None, each
        found[new] = stored
    for each, parts in stacks.items():
        new = names.get_name(each, try_suffixes=(".weight",))
        assert new is not None, each
        found[new] = np.stack(parts)
    return found


def permute(weights: Floats, heads: int) -> Floats:
    """Do what `LlamaModel.permute` of the converter does."""
    halves = weights.reshape(heads, 2, len(weights) // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def write(path: Path, name: str, config: Config, tensors: Mapping[str, Floats]) -> None:
    arch = "llama" if name == "mixtral" else name
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_key_length(WIDTH)
    if arch != "gemma":
        writer.add_rope_freq_base(float(str(config["rope_theta"])))
    writer.add_token_list([f"t{index}" for index in range(VOCAB)])
    own(writer, name)
    for each, values in converted(name, tensors).items():
        writer.add_tensor(each, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def own(writer: gguf.GGUFWriter, name: str) -> None:
    match name:
        case "mixtral" | "qwen3moe":
            writer.add_expert_count(EXPERTS)
            writer.add_expert_used_count(2)
            writer.add_expert_feed_forward_length(FFN)
        case "qwen2":
            writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            writer.add_rope_scaling_factor(4.0)
            writer.add_rope_scaling_orig_ctx_len(128)
        case "gemma2":
            writer.add_attn_logit_softcapping(40.0)
            writer.add_final_logit_softcapping(20.0)
            writer.add_sliding_window(32)
        case "gemma3":
            writer.add_sliding_window(32)
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(8.0)
        case "phi3":
            writer.add_sliding_window(48)
            writer.add_rope_dimension_count(WIDTH)
            writer.add_rope_scaling_orig_ctx_len(128)
            attention = math.sqrt(1 + math.log(512 / 128) / math.log(128))
            writer.add_rope_scaling_attn_factors(attention)
            writer.add_tensor("rope_factors_long.weight", np.array(LONG, np.float32))
            writer.add_tensor("rope_factors_short.weight", np.array(SHORT, np.float32))


def test_every_architecture_has_its_row_here() -> None:
    assert {*CONFIGS} - {"mixtral"} == {*KEPT}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_tensor_comes_back_as_it_was_converted(name: str, tmp_path: Path) -> None:
    config = {**SIZES, **CONFIGS[name]}
    tensors = made(name, config)
    write(tmp_path / "x.gguf", name, config, tensors)
    found = find(str(tmp_path / "x.gguf"))
    used = set()
    for each, values in tensors.items():
        recipe = found.recipe(each)
        np.testing.assert_array_equal(pull(recipe, found.source).array, values, err_msg=each)
        used |= set(taken(recipe))
    left = set(found.source.names()) - used
    assert left == {n for n in found.source.names() if n.startswith("rope_")}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_says_what_the_original_said(name: str, tmp_path: Path) -> None:
    config = {**SIZES, **CONFIGS[name]}
    write(tmp_path / "x.gguf", name, config, made(name, config))
    found = find(str(tmp_path / "x.gguf")).config
    assert found["architectures"] == config["architectures"]
    family = find_family(config)
    if family is None:  # an architecture that no graph is written for yet: its words alone count
        for key in CONFIGS[name]:
            assert found[key] == config[key], key
    else:
        expected, read = family.spec(config), family.spec(found)
        for field in dataclasses.fields(expected):
            assert getattr(read, field.name) == getattr(expected, field.name), field.name
