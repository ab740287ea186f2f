"""The pytest plugin: which platform the suite tests, and how thoroughly.

Knows nothing of cases.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from octavo_conformance.running import Runner
from octavo_conformance.subject import Subject, find


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite."""
    group = parser.getgroup("octavo", "Octavo's conformance suite")
    group.addoption("--octavo-device", metavar="NAME[:MODE]", help="the platform to test")
    group.addoption("--octavo-fast", action="store_true", help="try laws on fewer examples")


@pytest.fixture(scope="session")
def conformance_subject(request: pytest.FixtureRequest) -> Subject:
    """Give the platform under test; a test file may define its own."""
    device = request.config.getoption("--octavo-device")
    if device is None:
        raise pytest.UsageError("the conformance suite needs --octavo-device NAME[:MODE]")
    return find(device)


@pytest.fixture(scope="session")
def conformance_runner(
    conformance_subject: Subject, request: pytest.FixtureRequest
) -> Iterator[Runner]:
    """Give what runs a case, with the device opened once."""
    is_fast = bool(request.config.getoption("--octavo-fast"))
    runner = Runner(conformance_subject, is_fast=is_fast)
    yield runner
    runner.close()
