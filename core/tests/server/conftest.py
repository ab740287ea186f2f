"""Real servers over the model without weights and over a toy, and `openai` clients that ask them.

`llm` runs another such toy, so that what a server says can be held against it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from octavo import LLM
from octavo.testing.loaded import NullLoaded
from octavo.testing.served import Live, running
from octavo.testing.toy_loaded import toy_loaded
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.loaded import Platform


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with running(NullLoaded()) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as openai:
        yield openai


@pytest.fixture(scope="module")
def toy() -> Iterator[OpenAI]:
    with (
        running(toy_loaded(Platform(OraclePlatform()))) as server,
        OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as openai,
    ):
        yield openai


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM(toy_loaded(Platform(OraclePlatform())))
