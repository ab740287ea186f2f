"""Code that comes with a checkpoint is never run, and never needed where a model is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from octavo.config import Settings, from_environment
from octavo.errors import ModelError
from octavo.loading import plan
from octavo.testing.broken.files import tensors, write_config, write_shards
from octavo.testing.loaded import byte_backend
from octavo.weights.code import own_code, pickles_in

AUTO_MAP = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_shards(tmp_path, tensors())
    (tmp_path / "tokenizer.json").write_text(byte_backend().to_str())
    (tmp_path / "modeling_own.py").write_text("raise SystemExit('it was run')")
    return replace(from_environment({}), model=str(tmp_path), device="oracle", max_requests=2)


def test_code_of_an_unknown_model_is_refused_with_its_name(
    settings: Settings, tmp_path: Path
) -> None:
    write_config(tmp_path, architectures=["OwnForCausalLM"], auto_map=AUTO_MAP)
    with pytest.raises(
        ModelError, match=r"auto_map: configuration_own\.Own, modeling_own\.Own\), which is never"
    ):
        plan(settings)


def test_code_of_a_model_that_is_built_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    write_config(tmp_path, auto_map=AUTO_MAP, dtype="float32")
    assert "family 'llama'" in plan(settings).road


@pytest.mark.parametrize("config", [{}, {"auto_map": {}}, {"auto_map": None}])
def test_config_without_code_is_not_said_to_have_any(config: dict[str, object]) -> None:
    assert own_code(config) == ""


def test_every_kind_of_pickle_is_known_by_its_name(tmp_path: Path) -> None:
    names = ["a.bin", "b.pt", "c.pth", "d.ckpt", "e.pkl"]
    for name in (*names, "f.safetensors", "g.json"):
        (tmp_path / name).write_bytes(b"")
    assert pickles_in(tmp_path) == names
