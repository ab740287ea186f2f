"""Specs: what a checkpoint's config says, checked once and typed.

Anything that a config asks for and that is not built is refused by name, never ignored: a
model that runs with a forgotten scaling gives plausible, wrong text.

Knows nothing of graphs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.errors import ModelError

Config = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RopeSpec:
    """Rotary positions: the angular frequency of each pair of elements, and a factor.

    Shapes: frequencies float32 [D/2]. `factor` scales cosine and sine.
    """

    frequencies: tuple[float, ...]
    factor: float

    def array(self) -> npt.NDArray[np.float32]:
        """Give the frequencies as an array."""
        return np.asarray(self.frequencies, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec:
    """A decoder-only transformer, in the dimensions of STYLE.md.

    Units: `max_context_tokens` is what the model was made for.
    """

    architecture: str
    vocab_size: int
    width: int
    ffn_width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    eps: float
    rope: RopeSpec
    attention_bias: bool
    mlp_bias: bool
    tied_embeddings: bool
    max_context_tokens: int


def llama_spec(config: Config) -> DecoderSpec:
    """Read the config of a Llama model, in the keys of Hugging Face's config.json.

    Raises: ModelError, for a missing or wrong value, and for what is not built.
    """
    width, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    head_width = whole(config, "head_dim", width // heads)
    kv_heads = whole(config, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise ModelError(f"config.json: {heads} heads cannot share {kv_heads} KV heads evenly")
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise ModelError(f"config.json: hidden_act is '{activation}'; Llama models use 'silu'")
    return DecoderSpec(
        architecture="llama",
        vocab_size=whole(config, "vocab_size"),
        width=width,
        ffn_width=whole(config, "intermediate_size"),
        layers=whole(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        eps=number(config, "rms_norm_eps"),
        rope=rope_spec(config, head_width),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        max_context_tokens=whole(config, "max_position_embeddings"),
    )


def rope_spec(config: Config, head_width: int) -> RopeSpec:
    """Read the rotary positions: plain, linear or as in Llama 3.

    Raises: ModelError, for a kind that is not built.
    Source: arXiv 2104.09864; linear, arXiv 2306.15595; Llama 3 as in its reference code.
    """
    scaling = _mapping(config, "rope_parameters") or _mapping(config, "rope_scaling") or {}
    theta = number(scaling, "rope_theta", number(config, "rope_theta", 10000.0))
    if number(scaling, "partial_rotary_factor", number(config, "partial_rotary_factor", 1.0)) != 1:
        raise ModelError("config.json: partial_rotary_factor other than 1 is not built for Llama")
    exponents = np.arange(0, head_width, 2, dtype=np.float32) / np.float32(head_width)
    plain = (1.0 / np.float32(theta) ** exponents).astype(np.float32)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    match kind:
        case "default":
            frequencies = plain
        case "linear":
            frequencies = plain / np.float32(number(scaling, "factor"))
        case "llama3":
            frequencies = _llama3(plain, scaling)
        case _:
            raise ModelError(
                f"config.json: rope_type '{kind}' is not built; known: default, linear, llama3"
            )
    return RopeSpec(tuple(float(each) for each in frequencies), 1.0)


def _llama3(plain: npt.NDArray[np.float32], scaling: Config) -> npt.NDArray[np.float32]:
    """Slow down the long waves by a factor, keep the short ones, and blend between."""
    factor = number(scaling, "factor")
    low, high = number(scaling, "low_freq_factor"), number(scaling, "high_freq_factor")
    trained = number(scaling, "original_max_position_embeddings")
    waves = 2 * math.pi / plain
    blend = (trained / waves - low) / (high - low)
    between = (1 - blend) * plain / factor + blend * plain
    slowed = np.where(waves > trained / low, plain / factor, plain)
    middle = (waves <= trained / low) & (waves >= trained / high)
    return np.where(middle, between, slowed).astype(np.float32)


def whole(config: Config, key: str, default: int | None = None) -> int:
    """Give a positive integer of a config. Raises: ModelError."""
    found = config.get(key)
    if found is None and default is not None:
        return default
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ModelError(f"config.json: '{key}' has to be a positive integer, not {found!r}")
    return found


def number(config: Config, key: str, default: float | None = None) -> float:
    """Give a number of a config. Raises: ModelError."""
    found = config.get(key)
    if found is None and default is not None:
        return default
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ModelError(f"config.json: '{key}' has to be a number, not {found!r}")
    return float(found)


def _mapping(config: Config, key: str) -> Config | None:
    found = config.get(key)
    return found if isinstance(found, Mapping) and found else None
