"""Finding a model by what an operator types; and each way of being wrong about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from octavo.errors import ModelError
from octavo.weights import find
from octavo_platforms.recipes import Take

WriteGGUF = Callable[..., Path]


def write_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    save_file({"x": np.zeros(2, np.float32)}, folder / "model.safetensors")
    return folder


def test_folder_is_found_with_its_config_and_weights(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny")
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    found = find(str(folder))
    assert (found.name, found.format, found.path) == ("tiny", "safetensors", folder)
    assert found.config == {"model_type": "llama"}
    assert found.generation == {"eos_token_id": [1, 2]}
    assert found.recipe("x") == Take("x")
    assert list(found.source.names()) == ["x"]


def test_gguf_file_and_the_folder_that_holds_it_are_the_same_model(write_gguf: WriteGGUF) -> None:
    path = write_gguf("small.gguf")
    for model in (path, path.parent):
        found = find(str(model))
        assert (found.name, found.format, found.path) == ("small", "gguf", path)
        assert found.config["hidden_size"] == 8
        assert found.recipe("model.embed_tokens.weight") == Take("token_embd.weight")


def test_folder_of_several_gguf_files_lists_them(write_gguf: WriteGGUF) -> None:
    folder = write_gguf("a.gguf").parent
    write_gguf("b.gguf")
    with pytest.raises(ModelError, match=r"several GGUF files: a\.gguf, b\.gguf"):
        find(str(folder))


def test_tokenizer_is_built_once(demo_gguf: Path) -> None:
    found = find(str(demo_gguf))
    assert found.tokenizer() is found.tokenizer()


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json and no \.gguf file"):
        find(str(tmp_path))


@pytest.mark.parametrize(("text", "fact"), [("{", "is no JSON"), ("[]", "is no JSON object")])
def test_broken_config_is_refused(tmp_path: Path, text: str, fact: str) -> None:
    (write_folder(tmp_path / "m") / "config.json").write_text(text)
    with pytest.raises(ModelError, match=rf"config\.json {fact}"):
        find(str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("model.pt", r"only pickled weights \(model\.pt\)"),
        ("model.safetensors", "give the folder"),
        ("x.txt", "no .gguf"),
    ],
)
def test_file_that_is_no_model_is_refused(tmp_path: Path, name: str, fact: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=fact):
        find(str(tmp_path / name))


def test_path_that_does_not_exist_is_refused_with_what_to_give() -> None:
    with pytest.raises(ModelError, match=r"no model at /no/such/model\. Give a folder"):
        find("/no/such/model")


def test_hub_name_finds_the_snapshot_that_main_names(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--tiny"
    write_folder(folder / "snapshots" / "old")
    wanted = write_folder(folder / "snapshots" / "fresh")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("fresh\n")
    found = find("org/tiny", hub_cache=tmp_path)
    assert (found.name, found.path) == ("org/tiny", wanted)


def test_hub_name_finds_the_only_snapshot(tmp_path: Path) -> None:
    wanted = write_folder(tmp_path / "models--org--tiny" / "snapshots" / "one")
    assert find("org/tiny", hub_cache=tmp_path).path == wanted


def test_hub_name_with_several_snapshots_and_no_main_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_folder(tmp_path / "models--org--tiny" / "snapshots" / name)
    with pytest.raises(ModelError, match=r"several snapshots of org/tiny.*one, two"):
        find("org/tiny", hub_cache=tmp_path)


def test_hub_name_that_was_not_downloaded_is_refused_with_how_to(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not been downloaded.*hf download org/tiny"):
        find("org/tiny", hub_cache=tmp_path)


@pytest.mark.parametrize("revision", ["v1", "0ff1ce", "0ff1ce00"])
def test_revision_is_a_ref_or_a_commit_or_its_beginning(tmp_path: Path, revision: str) -> None:
    folder = tmp_path / "models--org--tiny"
    write_folder(folder / "snapshots" / "ba5e0000")
    wanted = write_folder(folder / "snapshots" / "0ff1ce00")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("ba5e0000")
    (folder / "refs" / "v1").write_text("0ff1ce00")
    assert find("org/tiny", hub_cache=tmp_path, revision=revision).path == wanted


@pytest.mark.parametrize("revision", ["v2", "../snapshots/one", ""])
def test_revision_that_was_not_downloaded_is_refused_with_those_that_were(
    tmp_path: Path, revision: str
) -> None:
    for name in ("one", "two"):
        write_folder(tmp_path / "models--org--tiny" / "snapshots" / name)
    with pytest.raises(ModelError, match=r"at the revision .*; there are one, two\. Fetch it"):
        find("org/tiny", hub_cache=tmp_path, revision=revision)


def test_local_path_has_no_revision(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny")
    with pytest.raises(ModelError, match=r"--revision v1 was given, but .* is a local path"):
        find(str(folder), revision="v1")
