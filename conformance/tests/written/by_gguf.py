"""GGUF files of transformers' models, by the names and the writer of the format's own library.

What llama.cpp's converter does beside renaming is done here again: rows of queries and keys change
their order where rotary pairs lie side by side, experts are stacked, and Gemma's norms get their
one. Knows nothing of how the files are read here.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from transformers import PreTrainedConfig, PreTrainedModel

Floats = npt.NDArray[np.float32]


def write(model: PreTrainedModel, architecture: str, folder: Path) -> Path:
    """Save a model as transformers does, convert what was saved, and give the file."""
    model.save_pretrained(folder)
    config = model.config
    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    _sizes(writer, config, architecture)
    writer.add_token_list([f"t{index}" for index in range(config.vocab_size)])
    for name, values in _converted(folder, architecture, config).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "model.gguf"


def _sizes(writer: gguf.GGUFWriter, config: PreTrainedConfig, architecture: str) -> None:
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(width)
    writer.add_value_length(width)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    num_experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if num_experts:
        writer.add_expert_count(num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(
            getattr(config, "moe_intermediate_size", None) or config.intermediate_size
        )
    if architecture in ("gemma2", "gemma3", "phi3"):
        writer.add_sliding_window(config.sliding_window or 0)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture == "phi3":
        writer.add_rope_dimension_count(width)


def _converted(folder: Path, architecture: str, config: PreTrainedConfig) -> dict[str, Floats]:
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[architecture.upper()], config.num_hidden_layers
    )
    found, stacks = dict[str, Floats](), dict[str, dict[int, Floats]]()
    for name, stored in load_file(folder / "model.safetensors").items():
        values: Floats = stored.to(torch.float32).numpy()
        before, experts, rest = name.partition(".experts.")
        if experts:
            number, _, part = rest.partition(".")
            stacks.setdefault(f"{before}.experts.{part}", {})[int(number)] = values
            continue
        if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            is_query = name.endswith("q_proj.weight")
            values = _paired(
                values, config.num_attention_heads if is_query else config.num_key_value_heads
            )
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            values = values + 1
        found[_name(names, name)] = values
    for name, parts in stacks.items():
        found[_name(names, name)] = np.stack([parts[number] for number in sorted(parts)])
    return found


def _name(names: gguf.TensorNameMap, name: str) -> str:
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    assert found is not None, name
    return found


def _paired(weights: Floats, num_heads: int) -> Floats:
    halves = weights.reshape(num_heads, 2, len(weights) // num_heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weights.shape)
