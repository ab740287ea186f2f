"""Command-R and Command-A (Cohere 1 and 2): attention and MLP side by side, pairs interleaved.

Norms have a weight and no bias; logits are scaled. In Cohere 2 three of four layers have a window,
and those without one have no positions.
Source: the models' cards and their code in Hugging Face transformers.

Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import SLIDING, Config, every, flag, kinds, number, whole
from octavo.models.spec import (
    DecoderSpec,
    HeadNorms,
    Norms,
    NormSpec,
    Scales,
    Sight,
    decoder_spec,
)

THETA, THETA2 = 500000.0, 10000.0


def cohere_spec(config: Config) -> DecoderSpec:
    """Read the config of a Command-R model."""
    has_norms = flag(config, "use_qk_norm", default=False)
    return replace(
        _spec(config, "cohere", THETA), head_norms=HeadNorms("own head") if has_norms else None
    )


def cohere2_spec(config: Config) -> DecoderSpec:
    """Read the config of a Command-A or Command-R7B model."""
    spec = _spec(config, "cohere2", THETA2)
    found = kinds(config, every(config, whole(config, "sliding_window_pattern", 4)))
    window = whole(config, "sliding_window", 4096)
    sights = tuple(
        Sight(window, spec.rope) if each == SLIDING else Sight(None, None) for each in found
    )
    return replace(spec, sights=sights)


def _spec(config: Config, name: str, theta: float) -> DecoderSpec:
    own = {"layer_norm_eps": 1e-5, **config}
    spec = decoder_spec(own, name, eps="layer_norm_eps", is_tied=True, theta=theta)
    return replace(
        spec,
        is_parallel=True,
        is_interleaved=True,
        norm=NormSpec("layer_norm"),
        norms=Norms(before_mlp=None),
        scales=Scales(logits=number(config, "logit_scale", 0.0625)),
    )


COHERE = Family("cohere", ("CohereForCausalLM",), cohere_spec)
COHERE2 = Family("cohere2", ("Cohere2ForCausalLM",), cohere2_spec)
