"""The key: who may ask what."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from octavo.server.app import create_app
from octavo.server.served import Served
from octavo.testing.loaded import NullLoaded


@pytest.fixture(scope="module")
def http() -> TestClient:
    return TestClient(create_app(Served.over(NullLoaded()), api_key="sesame"))


@pytest.mark.parametrize("path", ["/", "/v1/models", "/version", "/openapi.json", "/nothing"])
@pytest.mark.parametrize("header", [None, "sesame", "Bearer", "Bearer sesam", "Bearer ключ"])
def test_every_route_but_health_wants_the_key(
    http: TestClient, path: str, header: str | None
) -> None:
    headers = {} if header is None else {b"Authorization": header.encode()}
    answer = http.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_the_key_opens() -> None:
    with TestClient(create_app(Served.over(NullLoaded()), api_key="sesame")) as http:
        assert http.get("/v1/models", headers={"Authorization": "Bearer sesame"}).is_success
        assert http.get("/health").is_success
