"""Seeds: the words that a device keeps of a request's sampling, and seeds for who gave none.

Knows nothing of what is drawn with them.
"""

from __future__ import annotations

import numpy as np

from octavo_platforms.philox import philox4x32

LEAST_TEMPERATURE = 0.01
_SEED_MASK = (1 << 64) - 1
_SEED_STREAM = 1 << 31


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
    low, high = engine_seed & 0xFFFFFFFF, (engine_seed >> 32) & 0xFFFFFFFF
    counter = np.array([arrival & 0xFFFFFFFF, arrival >> 32, _SEED_STREAM, 0], np.uint32)
    words = philox4x32(counter, np.array([low, high], np.uint32))
    return (int(words[1]) & 0x7FFFFFFF) << 32 | int(words[0])
