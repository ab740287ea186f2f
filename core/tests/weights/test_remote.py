"""Checkpoints by address: what is copied, what is read by ranges, and what is said of errors."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from octavo.errors import ModelError
from octavo.graph.passes import optimised
from octavo.models.registry import family
from octavo.testing.broken.files import INDEX, SHARDS, tensors, write_shards
from octavo.testing.broken.loaded import CountedMemory
from octavo.testing.loaded import byte_backend
from octavo.testing.toys import llama
from octavo.weights import find
from octavo.weights.find import Checkpoint
from octavo.weights.load import from_checkpoint, load
from octavo_platforms.binding import Binding
from octavo_platforms.recipes import fill, pull
from octavo_platforms.tensor import host

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served" / "tiny"
    made.mkdir(parents=True)
    write_shards(made, tensors())
    (made / "tokenizer.json").write_text(byte_backend().to_str())
    return made


class Served(ThreadingHTTPServer):
    """A folder over HTTP that answers ranges, and notes how many bytes of which file it sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[tuple[str, int]] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{self.folder.name}"


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        assert isinstance(self.server, Served)
        path = self.server.folder / self.path.rpartition("/")[2]
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = data[int(asked[1]) : int(asked[2]) + 1] if asked else data
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {asked[1]}-{asked[2]}/{len(data)}")
        self.end_headers()
        if with_body:
            self.server.sent.append((path.name, len(part)))
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    pytest.importorskip("aiohttp")
    with Served(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def in_memory(folder: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        system.pipe_file(f"/models/tiny/{path.name}", path.read_bytes())
    yield "memory://models/tiny"
    system.rm("/models", recursive=True)


def placed(found: Checkpoint) -> int:
    program = llama.program(family(found.config).spec(found.config))
    named = optimised(from_checkpoint(program, found), one_step=False)
    return len(load(named, Binding({}, {}), found, CountedMemory()))


def same_tensors(found: Checkpoint) -> None:
    for name, values in tensors().items():
        array = pull(found.recipe(name), found.source).array
        assert array.flags.aligned
        np.testing.assert_array_equal(array, values)
        room = host(np.empty(array.shape, array.dtype))
        fill(found.recipe(name), found.source, room)
        np.testing.assert_array_equal(room.array, values)


def test_any_file_system_gives_the_same_tensors(
    folder: Path, in_memory: str, tmp_path: Path
) -> None:
    for address in (f"file://{folder}", in_memory, f"{in_memory}/"):
        found = find(address, mirror=tmp_path / "mirror")
        assert (found.name, found.format) == ("tiny", "safetensors")
        same_tensors(found)
        assert placed(found) > 0
        assert found.tokenizer().vocab_size > 256


def test_weights_over_http_are_read_by_ranges_each_byte_once(
    served: Served, tmp_path: Path
) -> None:
    found = find(served.address, mirror=tmp_path / "mirror")
    header_bytes = sum(sent for name, sent in served.sent if name in SHARDS)
    assert header_bytes < 4096
    served.sent.clear()
    placed(found)
    assert {name for name, _ in served.sent} == {*SHARDS}
    assert sum(sent for _, sent in served.sent) == sum(each.nbytes for each in tensors().values())
    assert max(sent for _, sent in served.sent) == max(each.nbytes for each in tensors().values())


def test_small_files_alone_are_copied_and_follow_what_is_there(
    folder: Path, tmp_path: Path
) -> None:
    found = find(f"file://{folder}", mirror=tmp_path / "mirror")
    copied = {path.name for path in found.path.iterdir()}
    assert copied == {"config.json", "tokenizer.json", INDEX}
    (folder / "tokenizer.json").unlink()
    assert find(f"file://{folder}", mirror=tmp_path / "mirror").path == found.path
    assert {path.name for path in found.path.iterdir()} == {"config.json", INDEX}


def test_copied_folder_is_enough_for_the_tokenizer(folder: Path, tmp_path: Path) -> None:
    found = find(f"file://{folder}", mirror=tmp_path / "mirror")
    assert find(str(found.path), load_format="dummy").tokenizer().vocab_size > 256


def test_file_that_grew_shorter_since_is_an_error_with_its_name(
    folder: Path, tmp_path: Path
) -> None:
    found = find(f"file://{folder}", mirror=tmp_path / "mirror")
    (folder / SHARDS[1]).write_bytes(b"")
    with pytest.raises(ModelError, match=rf"{SHARDS[1]}: asked for bytes \d+ to \d+, 0 came"):
        pull(found.recipe("model.norm.weight"), found.source)


@pytest.mark.parametrize(
    ("address", "fact"),
    [
        ("file:///no/such/folder", r"holds no config\.json"),
        ("memory://models/tiny.gguf", r"GGUF file, which is read from a local disk alone"),
        ("nosuch://bucket/model", r"Protocol not known: nosuch\. Install what fsspec asks for"),
        (
            "http://127.0.0.1:9/model",
            r"http://127.*/config\.json cannot be read: .*Check the address",
        ),
    ],
)
def test_address_that_cannot_be_used_is_refused_with_what_to_do(
    address: str, fact: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=fact):
        find(address, mirror=tmp_path)
