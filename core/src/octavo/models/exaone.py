"""EXAONE 4: norms behind attention and MLP, and of heads.

In models where some layers have a window, those without one have no positions.

Source: arXiv 2507.11407. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.olmo import BEHIND
from octavo.models.reading import FULL, SLIDING, Config, every, kinds, whole
from octavo.models.spec import DecoderSpec, HeadNorms, Sight, decoder_spec

PATTERN = 4
WINDOW = 4096


def exaone4_spec(config: Config) -> DecoderSpec:
    """Read the config of an EXAONE 4 model."""
    spec = decoder_spec(config, "exaone4")
    spec = replace(spec, norms=BEHIND, head_norms=HeadNorms("head"))
    config = {"sliding_window": WINDOW, **config}
    if config["sliding_window"] is None:
        return spec
    window = whole(config, "sliding_window")
    sights = tuple(
        Sight(window, spec.rope) if each == SLIDING else Sight(None, None)
        for each in kinds(config, _default(config))
    )
    return replace(spec, sights=sights)


def _default(config: Config) -> tuple[str, ...]:
    """Read the pattern of layers: every so-and-so-many-th sees everything, or by letters, L and G.

    A pattern of letters is repeated, and the last layer sees everything whatever its letter.
    """
    pattern = config.get("sliding_window_pattern")
    if not isinstance(pattern, str) or not pattern:
        return every(config, whole(config, "sliding_window_pattern", PATTERN))
    layers = whole(config, "num_hidden_layers")
    letters = (pattern[index % len(pattern)] for index in range(layers - 1))
    return (*(SLIDING if letter == "L" else FULL for letter in letters), FULL)


FAMILY = Family("exaone4", ("Exaone4ForCausalLM",), exaone4_spec)
