"""The platforms that toys are launched on by hand, each with as few sizes as it can have.

A platform that compiles for sizes pays for each; a toy's steps all fit into one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import discover
from octavo_platforms.loaded import Platform


def jax(most_tokens: int) -> Platform:
    octavo_jax = pytest.importorskip("octavo_jax")
    pytest.importorskip("jax")
    one = octavo_jax.Ladder(least=most_tokens, factor=2)
    made = octavo_jax.JaxPlatform(name="jax", device="cpu", vendor="host", tokens=one, rows=one)
    return Platform(made)


def torch(name: str) -> Platform:
    pytest.importorskip("torch")
    found = discover.load(name)
    if not found.probe().found:
        pytest.skip(found.probe().words)
    return found


PLATFORMS: Mapping[str, Callable[[int], Platform]] = MappingProxyType(
    {
        "oracle": lambda most_tokens: Platform(OraclePlatform()),
        "cpu": lambda most_tokens: torch("cpu"),
        "emulated": lambda most_tokens: torch("emulated"),
        "jax": jax,
    }
)
