"""The config of a GGUF file, in the words of a Hugging Face `config.json`.

A model definition reads one kind of config; this file is where the other kind ends.

Knows nothing of tensors' contents, but for the frequency factors of a scaled rotary embedding,
which the format stores as a tensor where the config has five numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
# What the only released models with these factors were trained with; the factors are checked
# against the formula before this is believed.
_LLAMA3_LOW, _LLAMA3_HIGH, _LLAMA3_CONTEXT = 1.0, 4.0, 8192


def gguf_config(file: GGUFFile) -> Config:
    """Give the config of a GGUF file as `config.json` would have it.

    Raises: ModelError, for an architecture that is not known or metadata that is missing.
    """
    name = file.metadata.get("general.architecture")
    architecture = _ARCHITECTURES.get(name) if isinstance(name, str) else None
    if architecture is None:
        raise ModelError(
            f"{file.path} holds a model of the architecture {name!r}; "
            f"known in GGUF files are: {', '.join(_ARCHITECTURES)}."
        )
    return architecture(file)


def _llama(file: GGUFFile) -> Config:
    needs = _Needs(file)
    if file.metadata.get("llama.expert_count"):
        raise ModelError(
            f"{file.path} is a llama model with experts; of this architecture only dense models "
            "are known. Use a dense one."
        )
    names = file.source.names()
    hidden_size = needs.integer("llama.embedding_length")
    num_heads = needs.integer("llama.attention.head_count")
    head_dim = needs.integer("llama.attention.key_length", hidden_size // num_heads)
    rotary = needs.integer("llama.rope.dimension_count", head_dim)
    if rotary != head_dim:
        raise ModelError(
            f"{file.path} rotates {rotary} of the {head_dim} values of a head; "
            "a llama model rotates all of them."
        )
    theta = needs.real("llama.rope.freq_base", 10000.0)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden_size,
        "intermediate_size": needs.integer("llama.feed_forward_length"),
        "num_hidden_layers": needs.integer("llama.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": needs.integer("llama.attention.head_count_kv", num_heads),
        "head_dim": head_dim,
        "rms_norm_eps": needs.real("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(file, needs, theta, head_dim),
        "max_position_embeddings": needs.integer("llama.context_length"),
        "vocab_size": file.source.shape(_EMBEDDING)[0],
        "tie_word_embeddings": _OUTPUT not in names,
        "attention_bias": "blk.0.attn_q.bias" in names,
        "mlp_bias": "blk.0.ffn_up.bias" in names,
        **_special_ids(file),
    }


_ARCHITECTURES: Mapping[str, Callable[[GGUFFile], Config]] = MappingProxyType({"llama": _llama})


class _Needs:
    """Reads numbers of the metadata; what is missing and has no default is an error."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelError(f"{self._file.path}: {key} is {value!r}, not one integer.")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelError(f"{self._file.path}: {key} is {value!r}, not a number.")
        return _shortest(value)

    def _value(self, key: str, default: float | None) -> MetaValue:
        value = self._file.metadata.get(key, default)
        if value is None:
            raise ModelError(f"{self._file.path} does not say {key}. Convert the model again.")
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


def _rope_scaling(file: GGUFFile, needs: _Needs, theta: float, head_dim: int) -> Config | None:
    if _ROTARY_FACTORS in file.source.names():
        return _llama3_scaling(file, theta, head_dim)
    kind = file.metadata.get("llama.rope.scaling.type", "none")
    if kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": needs.real("llama.rope.scaling.factor")}
    if kind == "yarn":
        return {
            "rope_type": "yarn",
            "factor": needs.real("llama.rope.scaling.factor"),
            "original_max_position_embeddings": needs.integer(
                "llama.rope.scaling.original_context_length"
            ),
        }
    raise ModelError(f"{file.path} scales rotary positions by {kind!r}; known: linear, yarn.")


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
