"""Qwen2 and Qwen3: Llama with biases on queries, keys and values; with norms of heads instead.

Source: arXiv 2407.10671 and 2505.09388. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import FULL, SLIDING, Config, flag, whole
from octavo.models.spec import DecoderSpec, HeadNorms, decoder_spec, with_sights


def qwen2_spec(config: Config) -> DecoderSpec:
    """Read the config of a Qwen2 or Qwen2.5 model."""
    spec = replace(decoder_spec(config, "qwen2"), attention_bias=True, output_bias=False)
    return _with_late_windows(spec, config)


def qwen3_spec(config: Config) -> DecoderSpec:
    """Read the config of a Qwen3 model."""
    own = {**config, "head_dim": whole(config, "head_dim", 128)}
    spec = replace(decoder_spec(own, "qwen3"), head_norms=HeadNorms("head"))
    return _with_late_windows(spec, config)


def _with_late_windows(spec: DecoderSpec, config: Config) -> DecoderSpec:
    """Let the layers from `max_window_layers` on slide, where windows are used at all."""
    if not flag(config, "use_sliding_window", default=False):
        return with_sights(spec, {**config, "layer_types": None}, (FULL,) * spec.layers)
    first = whole(config, "max_window_layers", 28)
    default = tuple(SLIDING if index >= first else FULL for index in range(spec.layers))
    return with_sights(spec, config, default)


QWEN2 = Family("qwen2", ("Qwen2ForCausalLM",), qwen2_spec)
QWEN3 = Family("qwen3", ("Qwen3ForCausalLM",), qwen3_spec)
