"""SmolLM3: Llama, every fourth layer of which has no positions.

Source: "SmolLM3: smol, multilingual, long-context reasoner", Hugging Face, 2025; arXiv 2501.18795.
Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.models.family import Family
from octavo.models.reading import FULL, SLIDING, Config, flag, kinds, whole
from octavo.models.spec import DecoderSpec, Sight, decoder_spec


def smollm3_spec(config: Config) -> DecoderSpec:
    """Read the config of a SmolLM3 model."""
    spec = decoder_spec(config, "smollm3", is_tied=True, theta=2e6)
    ropes = _ropes(config, spec.layers)
    slides = flag(config, "use_sliding_window", default=False) and config.get("sliding_window")
    default = tuple(FULL if has_rope or not slides else SLIDING for has_rope in ropes)
    found = kinds(config, default)
    window = whole(config, "sliding_window") if slides else None
    sights = tuple(
        Sight(window if kind == SLIDING else None, spec.rope if has_rope else None)
        for kind, has_rope in zip(found, ropes, strict=True)
    )
    return replace(spec, sights=sights)


def _ropes(config: Config, layers: int) -> tuple[bool, ...]:
    """Tell which layers have positions; the key is named for those that do not."""
    given = config.get("no_rope_layers")
    if given is None:
        every = whole(config, "no_rope_layer_interval", 4)
        return tuple((index + 1) % every != 0 for index in range(layers))
    if not isinstance(given, list | tuple) or len(given) != layers:
        raise ModelError("config.json: 'no_rope_layers' has to say 0 or 1 for each layer")
    return tuple(bool(each) for each in given)


FAMILY = Family("smollm3", ("SmolLM3ForCausalLM",), smollm3_spec)
