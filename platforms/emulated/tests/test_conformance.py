"""The conformance suite on the emulated device, each law tried on few examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import octavo_emulated
from octavo_conformance.running import Runner
from octavo_conformance.subject import given
from octavo_conformance.suite import *  # noqa: F403


@pytest.fixture(scope="session")
def conformance_runner() -> Iterator[Runner]:
    origin = "octavo_emulated:platform"
    subject = given(octavo_emulated.platform, name="emulated", origin=origin)
    runner = Runner(subject, is_fast=True)
    yield runner
    runner.close()
