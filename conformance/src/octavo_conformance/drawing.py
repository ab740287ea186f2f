"""Drawing: deterministic numbers, and laws tried on drawn examples.

Numbers depend on their name alone, so that a case tests the same thing on every platform and
each day; laws search with a fixed seed and keep no database. Knows nothing of ops.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from octavo_platforms.tensor import Array

T = TypeVar("T")


def random(name: str) -> np.random.Generator:
    """Give a generator that belongs to a name."""
    return np.random.Generator(np.random.Philox(zlib.crc32(name.encode())))


def normal(name: str, *shape: int, scale: float = 1.0) -> Array:
    """Draw normal float32 numbers that belong to a name."""
    found: Array = (random(name).standard_normal(shape) * scale).astype(np.float32)
    return found


def law(examples: int, strategy: SearchStrategy[T], holds: Callable[[T], None]) -> None:
    """Try a law on drawn examples; the one that breaks it is in the error's notes."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def tried(example: T) -> None:
        holds(example)

    tried()
