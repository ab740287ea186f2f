"""The config of a GGUF file, in the words of a Hugging Face `config.json`.

A model definition reads one kind of config; this file is where the other kind ends. An
architecture is a row: its names, and what it says beside what all say.

Knows nothing of tensors' contents, but for the frequency factors of a scaled rotary embedding,
which the format stores as a tensor where the config has five numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo.errors import ModelError
from octavo.weights.gguf import GGUFFile, MetaValue
from octavo_platforms.tensor import to_float

Config = Mapping[str, object]

_EMBEDDING = "token_embd.weight"
_OUTPUT = "output.weight"
_ROTARY_FACTORS = "rope_freqs.weight"
_LONG_FACTORS, _SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"
# What the only released models with these factors were trained with; the factors are checked
# against the formula before this is believed.
_LLAMA3_LOW, _LLAMA3_HIGH, _LLAMA3_CONTEXT = 1.0, 4.0, 8192
_GELU = "gelu_pytorch_tanh"


def gguf_config(file: GGUFFile) -> Config:
    """Give the config of a GGUF file as `config.json` would have it.

    Raises: ModelError, for an architecture that is not known or metadata that is missing.
    """
    name = file.metadata.get("general.architecture")
    row = _ARCHITECTURES.get(name) if isinstance(name, str) else None
    if row is None or not isinstance(name, str):
        raise ModelError(
            f"{file.path} holds a model of the architecture {name!r}; "
            f"known in GGUF files are: {', '.join(_ARCHITECTURES)}. Use the model's safetensors "
            "folder."
        )
    needs = _Needs(file, name)
    shared = _shared(needs)
    return {
        "architectures": [row.hf_class],
        "model_type": row.model_type,
        **shared,
        **row.own(needs, shared),
        **_special_ids(file),
    }


@dataclass(frozen=True, slots=True)
class _Row:
    """An architecture: what Hugging Face calls it, and what its config says beside the rest."""

    hf_class: str
    model_type: str
    own: Callable[[_Needs, Config], Config]


def _shared(needs: _Needs) -> Config:
    names = needs.file.source.names()
    hidden_size = needs.integer("embedding_length")
    num_heads = needs.integer("attention.head_count")
    head_dim = needs.integer("attention.key_length", hidden_size // num_heads)
    theta = needs.real("rope.freq_base", 10000.0)
    return {
        "hidden_act": "silu",
        "hidden_size": hidden_size,
        "intermediate_size": needs.integer("feed_forward_length"),
        "num_hidden_layers": needs.integer("block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": needs.integer("attention.head_count_kv", num_heads),
        "head_dim": head_dim,
        "rms_norm_eps": needs.real("attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(needs, theta, head_dim),
        "max_position_embeddings": needs.integer("context_length"),
        "vocab_size": needs.file.source.shape(_EMBEDDING)[0],
        "tie_word_embeddings": _OUTPUT not in names,
        "attention_bias": "blk.0.attn_q.bias" in names,
        "mlp_bias": "blk.0.ffn_up.bias" in names,
    }


def _plain(needs: _Needs, shared: Config) -> Config:
    _rotates_all(needs, shared)
    return {}


def _llama(needs: _Needs, shared: Config) -> Config:
    _rotates_all(needs, shared)
    num_experts = needs.integer("expert_count", 0)
    if num_experts == 0:
        return {}
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": num_experts,
        "num_experts_per_tok": needs.integer("expert_used_count"),
    }


def _qwen3moe(needs: _Needs, shared: Config) -> Config:
    _rotates_all(needs, shared)
    return {
        "num_experts": needs.integer("expert_count"),
        "num_experts_per_tok": needs.integer("expert_used_count"),
        "moe_intermediate_size": needs.integer("expert_feed_forward_length"),
        "norm_topk_prob": True,
    }


def _gemma(needs: _Needs, shared: Config) -> Config:
    _rotates_all(needs, shared)
    return {"hidden_act": _GELU, "hidden_activation": _GELU}


def _gemma2(needs: _Needs, shared: Config) -> Config:
    return {
        **_gemma(needs, shared),
        "sliding_window": needs.integer("attention.sliding_window", 4096),
        "attn_logit_softcapping": needs.real("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": needs.real("final_logit_softcapping", 30.0),
        "query_pre_attn_scalar": _gemma_scalar(shared, largest=46),
    }


def _gemma3(needs: _Needs, shared: Config) -> Config:
    return {
        **_gemma(needs, shared),
        "rope_theta": needs.real("rope.freq_base", 1e6),
        "rope_local_base_freq": needs.real("rope.freq_base_swa", 1e4),
        "sliding_window": needs.integer("attention.sliding_window"),
        "sliding_window_pattern": needs.integer("attention.sliding_window_pattern", 6),
        "query_pre_attn_scalar": _gemma_scalar(shared, largest=62),
    }


def _gemma_scalar(shared: Config, *, largest: int) -> object:
    """Give what scores are scaled by, which files do not say: the largest model has its own.

    Source: llama.cpp, llama-model.cpp, `f_attention_scale` of gemma2 and gemma3.
    """
    if shared["num_hidden_layers"] != largest:
        return shared["head_dim"]
    hidden_size, num_heads = shared["hidden_size"], shared["num_attention_heads"]
    assert isinstance(hidden_size, int), hidden_size  # _shared read both as integers
    assert isinstance(num_heads, int), num_heads
    return hidden_size // num_heads


def _phi3(needs: _Needs, shared: Config) -> Config:
    head_dim = shared["head_dim"]
    assert isinstance(head_dim, int), head_dim  # _shared read it as an integer
    context = shared["max_position_embeddings"]
    return {
        "partial_rotary_factor": needs.integer("rope.dimension_count", head_dim) / head_dim,
        "sliding_window": needs.integer("attention.sliding_window", 0) or None,
        "original_max_position_embeddings": needs.maybe("rope.scaling.original_context_length")
        or context,
    }


def _rotates_all(needs: _Needs, shared: Config) -> None:
    head_dim = shared["head_dim"]
    rotary = needs.maybe("rope.dimension_count")
    if rotary is not None and rotary != head_dim:
        raise ModelError(
            f"{needs.file.path} rotates {rotary} of the {head_dim} values of a head; "
            f"a model of the architecture '{needs.architecture}' rotates all of them."
        )


_ARCHITECTURES: Mapping[str, _Row] = MappingProxyType(
    {
        "llama": _Row("LlamaForCausalLM", "llama", _llama),
        "qwen2": _Row("Qwen2ForCausalLM", "qwen2", _plain),
        "qwen3": _Row("Qwen3ForCausalLM", "qwen3", _plain),
        "qwen3moe": _Row("Qwen3MoeForCausalLM", "qwen3_moe", _qwen3moe),
        "gemma": _Row("GemmaForCausalLM", "gemma", _gemma),
        "gemma2": _Row("Gemma2ForCausalLM", "gemma2", _gemma2),
        "gemma3": _Row("Gemma3ForCausalLM", "gemma3_text", _gemma3),
        "phi3": _Row("Phi3ForCausalLM", "phi3", _phi3),
    }
)


class _Needs:
    """Reads what the metadata says of an architecture; a gap without a default is an error."""

    def __init__(self, file: GGUFFile, architecture: str) -> None:
        self.file = file
        self.architecture = architecture

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelError(
                f"{self.file.path}: {self.architecture}.{key} is {value!r}, not one integer."
            )
        return value

    def real(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelError(
                f"{self.file.path}: {self.architecture}.{key} is {value!r}, not a number."
            )
        return _shortest(value)

    def maybe(self, key: str) -> MetaValue | None:
        return self.file.metadata.get(f"{self.architecture}.{key}")

    def _value(self, key: str, default: float | None) -> MetaValue:
        found = self.maybe(key)
        value = default if found is None else found
        if value is None:
            raise ModelError(
                f"{self.file.path} does not say {self.architecture}.{key}. Convert the model again."
            )
        return value


def _shortest(value: float) -> float:
    """Give the shortest decimal that the stored float32 stands for: 1e-5, not 9.9999997e-6."""
    return float(str(np.float32(value)))


def _special_ids(file: GGUFFile) -> Config:
    ids = {
        name: file.metadata.get(f"tokenizer.ggml.{name}_token_id")
        for name in ("bos", "padding", "eos", "eot", "eom")
    }
    ends = list(dict.fromkeys(ids[name] for name in ("eos", "eot", "eom") if ids[name] is not None))
    return {
        "bos_token_id": ids["bos"],
        "pad_token_id": ids["padding"],
        "eos_token_id": ends if len(ends) > 1 else (ends[0] if ends else None),
    }


def _rope_scaling(needs: _Needs, theta: float, head_dim: int) -> Config | None:
    names = needs.file.source.names()
    if _ROTARY_FACTORS in names:
        return _llama3_scaling(needs.file, theta, head_dim)
    if _LONG_FACTORS in names:
        return {
            "rope_type": "longrope",
            "long_factor": to_float(needs.file.source.read(_LONG_FACTORS)).tolist(),
            "short_factor": to_float(needs.file.source.read(_SHORT_FACTORS)).tolist(),
        }
    kind = needs.maybe("rope.scaling.type") or "none"
    if kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": needs.real("rope.scaling.factor")}
    if kind == "yarn":
        return {
            "rope_type": "yarn",
            "factor": needs.real("rope.scaling.factor"),
            "original_max_position_embeddings": needs.integer(
                "rope.scaling.original_context_length"
            ),
        }
    raise ModelError(
        f"{needs.file.path} scales rotary positions by {kind!r}; known: linear, yarn, and factors "
        "as tensors. Use the model's safetensors folder."
    )


def _llama3_scaling(file: GGUFFile, theta: float, head_dim: int) -> Config:
    stored = to_float(file.source.read(_ROTARY_FACTORS))
    factor = float(stored.max())
    expected = _llama3_factors(theta, head_dim, factor)
    if stored.shape != expected.shape or not np.allclose(stored, expected, rtol=1e-4):
        raise ModelError(
            f"{file.path} scales rotary frequencies by factors of its own ({_ROTARY_FACTORS}); "
            "only those of Llama 3.1 to 3.3 are known. Use the safetensors checkpoint."
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LLAMA3_LOW,
        "high_freq_factor": _LLAMA3_HIGH,
        "original_max_position_embeddings": _LLAMA3_CONTEXT,
    }


def _llama3_factors(theta: float, head_dim: int, factor: float) -> npt.NDArray[np.float64]:
    """Give what Llama 3.1 divides each rotary frequency by.

    Source: the reference implementation of Llama 3.1, `apply_scaling`: long waves by the factor,
        short ones by one, those between by a blend that is linear in the frequency.
    """
    frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    turns = _LLAMA3_CONTEXT * frequencies / (2 * pi)
    blend = np.clip((turns - _LLAMA3_LOW) / (_LLAMA3_HIGH - _LLAMA3_LOW), 0, 1)
    divided: npt.NDArray[np.float64] = 1 / ((1 - blend) / factor + blend)
    return divided
