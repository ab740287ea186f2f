"""Rotary positions, as configs ask for them: frequencies, a factor, and how both are stretched.

    default    theta ** -(2j / D)
    linear     all waves slower by a factor            arXiv 2306.15595
    llama3     long waves slower, short ones as they were, a blend between
    yarn       the same by rotations, and a factor on attention        arXiv 2309.00071
    longrope   a factor for each wave, of two lists by how long contexts may be    arXiv 2402.13753
    dynamic    slower only beyond what the model was made for, where no context goes: default

A config has one set of parameters, or one for each kind of layer; old ones keep them in other
keys. Knows nothing of graphs, nor of how pairs of elements lie in a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from octavo.errors import ModelError, NotBuilt
from octavo.models.reading import Config, mapping, number, positive, whole

KNOWN = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")
BETA_FAST, BETA_SLOW = 32.0, 1.0

Waves = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RopeSpec:
    """Rotary positions: the angular frequency of each pair of elements, and a factor.

    `longer` are the frequencies in place of these where contexts may pass `longer_from_tokens`,
    and `longer_factor` the factor then.

    Shapes: frequencies float32 [D'/2]; D' is how much of a head turns. `factor` scales cosine
        and sine.
    """

    frequencies: tuple[float, ...]
    factor: float
    longer: tuple[float, ...] = ()
    longer_from_tokens: int = 0
    longer_factor: float = 1.0

    def array(self) -> Waves:
        """Give the frequencies as an array."""
        return np.asarray(self.frequencies, dtype=np.float32)

    def within(self, context_tokens: int) -> RopeSpec:
        """Choose the frequencies for contexts of at most so many tokens."""
        if self.longer and context_tokens > self.longer_from_tokens:
            return RopeSpec(self.longer, self.longer_factor)
        return RopeSpec(self.frequencies, self.factor)


NO_ROPE = RopeSpec((), 1.0)


def rope_spec(
    config: Config,
    head_width: int,
    *,
    theta: float = 10000.0,
    partial: float = 1.0,
    kind: str | None = None,
) -> RopeSpec:
    """Read the rotary positions of a config, or those of one kind of its layers.

    `theta` and `partial`, the share of a head that turns, stand where the config says nothing.

    Raises: ModelError; NotBuilt, for a way to stretch them that is not here.
    """
    scaling = scaling_of(config, kind)
    theta = positive(scaling, "rope_theta", number(config, "rope_theta", theta))
    share = number(
        scaling, "partial_rotary_factor", number(config, "partial_rotary_factor", partial)
    )
    width = int(head_width * share)
    if width % 2:
        raise ModelError(
            f"config.json: {width} elements of a head turn, which make no pairs. 'head_dim' has to "
            "be even, and so the part of it that 'partial_rotary_factor' says."
        )
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    plain = (1.0 / np.float32(theta) ** exponents).astype(np.float32)
    match scaling.get("rope_type", scaling.get("type", "default")):
        case "default" | "dynamic":
            return _spec(plain)
        case "linear":
            return _spec(plain / np.float32(positive(scaling, "factor")))
        case "llama3":
            return _spec(_llama3(plain, scaling, _trained(config, scaling)))
        case "yarn":
            return _yarn(plain, config, scaling, theta)
        case "longrope" | "su":
            return _longrope(plain, config, scaling)
        case other:
            raise NotBuilt(
                f"config.json: rope_type '{other}' is not built; known: {', '.join(KNOWN)}"
            )


def scaling_of(config: Config, kind: str | None = None) -> Config:
    """Give what a config says of positions, or of those of one kind of its layers."""
    found = mapping(config, "rope_parameters") or mapping(config, "rope_scaling") or {}
    if any(isinstance(each, Mapping) for each in found.values()):
        if kind is None:
            raise NotBuilt(
                "config.json: rope_parameters differ between layers, which models of this family "
                "do not know"
            )
        found = mapping(found, kind) or {}
    return found


def with_positions(config: Config, left_out: Config) -> Config:
    """Give a config what it leaves out; of positions, only where it says nothing at all of them."""
    said = {key: value for key, value in config.items() if key != "rope_parameters" or value}
    own = {key: value for key, value in left_out.items() if key != "rope_parameters"}
    is_silent = not said.keys() & {"rope_parameters", "rope_scaling", "rope_theta"}
    return {**(left_out if is_silent else own), **said}


def _spec(frequencies: Waves, factor: float = 1.0) -> RopeSpec:
    return RopeSpec(tuple(float(each) for each in frequencies), factor)


def _trained(config: Config, scaling: Config) -> int:
    """Tell for how many tokens the model was trained before positions were stretched."""
    key = "original_max_position_embeddings"
    return whole(config, key, whole(scaling, key, whole(config, "max_position_embeddings")))


def _stretch(config: Config, scaling: Config) -> float:
    ratio = whole(config, "max_position_embeddings") / _trained(config, scaling)
    return positive(scaling, "factor", ratio)


def _llama3(plain: Waves, scaling: Config, trained: int) -> Waves:
    """Slow down the long waves by a factor, keep the short ones, and blend between."""
    factor = positive(scaling, "factor")
    low, high = number(scaling, "low_freq_factor"), number(scaling, "high_freq_factor")
    waves = 2 * math.pi / plain
    blend = (trained / waves - low) / (high - low)
    between = (1 - blend) * plain / factor + blend * plain
    slowed = np.where(waves > trained / low, plain / factor, plain)
    middle = (waves <= trained / low) & (waves >= trained / high)
    return np.where(middle, between, slowed).astype(np.float32)


def _yarn(plain: Waves, config: Config, scaling: Config, theta: float) -> RopeSpec:
    """Slow down waves that turn less than `beta_slow` times, keep those above `beta_fast`."""
    factor, trained = _stretch(config, scaling), _trained(config, scaling)
    if theta <= 1:
        raise ModelError(f"config.json: 'rope_theta' has to be above 1, not {theta}")
    width = 2 * len(plain)

    def pair(rotations: float) -> float:
        return width * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low = pair(number(scaling, "beta_fast", BETA_FAST))
    high = pair(number(scaling, "beta_slow", BETA_SLOW))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    if low == high:
        high += 0.001
    ramp = np.clip((np.arange(len(plain), dtype=np.float32) - low) / (high - low), 0, 1)
    waves = plain / np.float32(factor) * ramp + plain * (1 - ramp)
    return _spec(waves.astype(np.float32), _yarn_factor(scaling, factor))


def grown(factor: float, scale: float = 1.0) -> float:
    """Give how much sharper attention has to be where positions are stretched by a factor."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _yarn_factor(scaling: Config, factor: float) -> float:
    """Give the factor on cosine and sine, by which attention grows sharper."""

    inner, outer = number(scaling, "mscale", 0.0), number(scaling, "mscale_all_dim", 0.0)
    is_given = bool(inner and outer)
    made = grown(factor, inner) / grown(factor, outer) if is_given else grown(factor)
    return number(scaling, "attention_factor", made)


def _longrope(plain: Waves, config: Config, scaling: Config) -> RopeSpec:
    """Slow each wave down by its own factor, another one where contexts may be long."""
    factor, trained = _stretch(config, scaling), _trained(config, scaling)
    if trained < 2:
        raise ModelError("config.json: 'original_max_position_embeddings' has to be above 1")
    made = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(trained))
    made = number(scaling, "attention_factor", made)
    short, longer = (
        _spec(plain / _factors(scaling, key, plain), number(scaling, f"{key}_mscale", made))
        for key in ("short", "long")
    )
    return replace(
        short,
        longer=longer.frequencies,
        longer_from_tokens=trained,
        longer_factor=longer.factor,
    )


def _factors(scaling: Config, key: str, plain: Waves) -> Waves:
    found = scaling.get(f"{key}_factor")
    numbers = found if isinstance(found, list | tuple) else ()
    above = [each for each in numbers if isinstance(each, int | float) and each > 0]
    if len(above) != len(plain) or len(numbers) != len(plain):
        raise ModelError(
            f"config.json: {key}_factor has to be a list of {len(plain)} numbers above zero, one "
            "for each pair of elements that turns"
        )
    return np.asarray(above, dtype=np.float32)
