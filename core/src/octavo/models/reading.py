"""Reading a config: each key checked once, what is missing or wrong refused by name.

Knows nothing of families or of graphs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeGuard

from octavo.errors import ModelError, NotBuilt

Config = Mapping[str, object]

LARGEST: Mapping[str, int] = MappingProxyType({"num_hidden_layers": 1000})
"""What no model comes near, so that nobody waits for the layers of a damaged number."""
SLIDING, FULL = "sliding_attention", "full_attention"


def whole(config: Config, key: str, default: int | None = None) -> int:
    """Give a positive integer of a config. Raises: ModelError."""
    found = config.get(key)
    if found is None and default is not None:
        return default
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ModelError(f"config.json: '{key}' has to be a positive integer, not {found!r}")
    if found > LARGEST.get(key, found):
        raise ModelError(f"config.json: '{key}' is {found}; at most {LARGEST[key]} are believed")
    return found


def number(config: Config, key: str, default: float | None = None) -> float:
    """Give a number of a config. Raises: ModelError."""
    found = config.get(key)
    if found is None and default is not None:
        return default
    if not _is_number(found):
        raise ModelError(f"config.json: '{key}' has to be a number, not {found!r}")
    return float(found)


def _is_number(found: object) -> TypeGuard[int | float]:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return math.isfinite(found)


def numbers(config: Config, key: str, count: int) -> tuple[float, ...] | None:
    """Give a list of so many numbers of a config; None where there is none. Raises: ModelError."""
    found = config.get(key)
    if found is None:
        return None
    given = found if isinstance(found, list | tuple) else ()
    known = tuple(float(each) for each in given if _is_number(each))
    if not len(known) == len(given) == count:
        raise ModelError(f"config.json: '{key}' has to be a list of {count} numbers, not {found!r}")
    return known


def positive(config: Config, key: str, default: float | None = None) -> float:
    """Give a number above zero of a config. Raises: ModelError."""
    found = number(config, key, default)
    if found <= 0:
        raise ModelError(f"config.json: '{key}' has to be above zero, not {found!r}")
    return found


def maybe_number(config: Config, key: str, default: float | None = None) -> float | None:
    """Give a number of a config, None where it says null. Raises: ModelError."""
    if config.get(key, default) is None:
        return None
    return number(config, key, default)


def flag(config: Config, key: str, *, default: bool) -> bool:
    """Give a truth value of a config. Raises: ModelError."""
    found = config.get(key)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise ModelError(f"config.json: '{key}' has to be true or false, not {found!r}")
    return found


def mapping(config: Config, key: str) -> Config | None:
    """Give an object of a config; None where there is none or an empty one. Raises: ModelError."""
    found = config.get(key)
    if found is not None and not isinstance(found, Mapping):
        raise ModelError(f"config.json: '{key}' has to be an object, not {found!r}")
    return found or None


def in_these_words(config: Config, words: Mapping[str, str]) -> Config:
    """Give a config whose keys are those that other families use: `words` has the old by the new.

    A key that is there already stays as it is.
    """
    found = {new: config[old] for new, old in words.items() if old in config}
    return {**found, **config}


def kinds(config: Config, default: Sequence[str]) -> tuple[str, ...]:
    """Give the kind of each layer: it slides, or sees everything. Raises: ModelError; NotBuilt."""
    given = config.get("layer_types")
    found = default if given is None else given
    if not isinstance(found, list | tuple) or len(found) != whole(config, "num_hidden_layers"):
        raise ModelError("config.json: 'layer_types' has to name one kind for each layer")
    for each in found:
        if each not in (SLIDING, FULL):
            raise NotBuilt(
                f"config.json: layers of the kind '{each}' are not built; known: {SLIDING}, {FULL}"
            )
    return tuple(str(each) for each in found)


def every(config: Config, count: int) -> tuple[str, ...]:
    """Give layers that slide, but for every so-and-so-many-th one, which sees everything."""
    layers = whole(config, "num_hidden_layers")
    return tuple(FULL if (index + 1) % count == 0 else SLIDING for index in range(layers))


def refuse(config: Config, family: str, **known: object) -> None:
    """Refuse a config where a key has another value than the ones known, or than nothing.

    Raises: NotBuilt, with the key, its value and the one that is built.
    """
    for key, value in known.items():
        found = config.get(key)
        if found is not None and found != value:
            raise NotBuilt(
                f"config.json: '{key}' is {found!r}; models of the family '{family}' are built "
                f"with {value!r} only"
            )
