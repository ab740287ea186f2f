"""The conformance suite on XLA's runtime for the host, each law tried on few examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("jax")

import octavo_jax
from octavo_conformance.running import Runner
from octavo_conformance.subject import given
from octavo_conformance.suite import *  # noqa: F403


@pytest.fixture(scope="session")
def conformance_runner() -> Iterator[Runner]:
    subject = given(octavo_jax.platform, name="jax", origin="octavo_jax:platform")
    runner = Runner(subject, is_fast=True)
    yield runner
    runner.close()
