"""Seeds: the words that a device keeps of a request's sampling, and seeds for who gave none.

Knows nothing of what is drawn with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from octavo_platforms.philox import philox4x32

LEAST_TEMPERATURE = 0.01
_SEED_MASK = (1 << 64) - 1
_SEED_STREAM = 1 << 31
_AT_ONCE = 64


def effective_temperature(temperature: float) -> np.float32:
    """Give the divisor that a temperature means; 0 is greedy.

    What lies between 0 and `LEAST_TEMPERATURE` is raised to it: logits divided by less would
    leave float32.
    """
    return np.float32(0.0 if temperature == 0 else max(temperature, LEAST_TEMPERATURE))


def sampling_words(temperature: float, seed: int) -> tuple[int, int, int]:
    """Give what a device must know of a seat's sampling, as three words.

    Units: the bits of the float32 temperature (0 is greedy), the seed's low and high word.
    """
    bits = seed & _SEED_MASK
    temperature_bits = int(effective_temperature(temperature).view(np.uint32))
    return temperature_bits, bits & 0xFFFFFFFF, bits >> 32


def derived_seed(engine_seed: int, arrival: int) -> int:
    """Give the seed of a request that asked for none: a function of the engine's and its turn."""
    return _seeds(engine_seed, arrival // _AT_ONCE)[arrival % _AT_ONCE]


@lru_cache(maxsize=8)
def _seeds(engine_seed: int, number: int) -> Sequence[int]:
    """Draw the seeds of some arrivals, which costs as much as drawing one."""
    low, high = engine_seed & 0xFFFFFFFF, (engine_seed >> 32) & 0xFFFFFFFF
    arrivals = np.arange(number * _AT_ONCE, (number + 1) * _AT_ONCE, dtype=np.uint64)
    counters = np.zeros((_AT_ONCE, 4), np.uint32)
    counters[:, 0], counters[:, 1] = arrivals & np.uint64(0xFFFFFFFF), arrivals >> np.uint64(32)
    counters[:, 2] = _SEED_STREAM
    words = philox4x32(counters, np.array([low, high], np.uint32)).astype(np.int64)
    seeds: list[int] = ((words[:, 1] & 0x7FFFFFFF) << 32 | words[:, 0]).tolist()
    return tuple(seeds)
