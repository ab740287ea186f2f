"""A real server over the model without weights, and the `openai` client that asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from octavo.testing.loaded import NullLoaded
from octavo.testing.served import Live, running


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with running(NullLoaded()) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as openai:
        yield openai
