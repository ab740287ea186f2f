"""Nemotron and Minitron: layer norms by 1 + weight, half of each head turns, relu squared.

Source: arXiv 2402.16819 and 2407.14679. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.reading import Config
from octavo.models.spec import DecoderSpec, NormSpec, decoder_spec


def nemotron_spec(config: Config) -> DecoderSpec:
    """Read the config of a Nemotron model."""
    own = {"norm_eps": 1e-5, **config}
    spec = decoder_spec(own, "nemotron", activation="relu2", eps="norm_eps", partial=0.5)
    norm = NormSpec("layer_norm", offset=1.0, has_bias=True)
    return replace(spec, is_gated=False, norm=norm)


FAMILY = Family("nemotron", ("NemotronForCausalLM",), nemotron_spec)
