"""The platforms that the parity tests run on."""

from __future__ import annotations

import pytest

from octavo_platforms import discover
from octavo_platforms.loaded import Platform


@pytest.fixture(params=["oracle", "cpu"])
def platform(request: pytest.FixtureRequest) -> Platform:
    name: str = request.param
    return discover.load(name)
