"""Every promise of the native platform, as the suite states them: one test a case."""

from __future__ import annotations

import pytest

from octavo_conformance.subject import Subject, given
from octavo_conformance.suite import *  # noqa: F403
from octavo_cpu.native import platform


@pytest.fixture(scope="session")
def conformance_subject() -> Subject:
    return given(platform, name="cpu_native", origin="octavo_cpu.native:platform")
