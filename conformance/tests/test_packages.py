"""Platforms from packages of their own: built, installed, discovered and run as a user's are.

A private platform on the torch base, a fork of the CPU's that brings attention alone, one with
private ops, and one made for another contract. Does not know how any of them works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from octavo.testing.drive import run_on
from octavo.testing.law import hold
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_platforms import discover

from .installing import PACKAGES, console, install, python
from .packages.running import PROMPTS

torch = pytest.importorskip("torch")
pytest.importorskip("hatchling")

CPU_FALLBACK = {"octavo_cpu", "octavo_torch"}


@dataclass(frozen=True)
class Told:
    """What `packages/running.py` printed about a run of the toy."""

    outputs: Sequence[Sequence[int]]
    changes: Sequence[str]
    providers: Mapping[str, Sequence[str]]
    refusals: Sequence[str]
    layouts: Mapping[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packages = [path.parent for path in sorted(PACKAGES.glob("*/pyproject.toml"))]
    assert len(packages) == 4
    workshop, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    return install(packages, target, workshop)


def toy(folder: Path, name: str) -> Told:
    told: Told = json.loads(_said(folder, f"toy({name!r})"), object_hook=_told)
    return told


def private(folder: Path, dtype: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(_said(folder, f"private('acme_ops', {dtype!r})"))
    return found


def _said(folder: Path, call: str) -> str:
    start = f"sys.path.insert(0, {str(PACKAGES)!r}); import running"
    ended = python(folder, f"{start}; running.{call}")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


def _told(found: dict[str, object]) -> object:
    return Told(**found) if "outputs" in found else found  # type: ignore[arg-type]


def assert_right(outputs: Sequence[Sequence[int]]) -> None:
    """Hold tokens against the oracle's logits, by the law."""
    program = llama.program(llama.spec())
    oracle = run_on(discover.load("oracle"), program, RandomWeights(program))
    logits, tokens = [], list[int]()
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        logits.append(oracle.logits([*prompt, *output])[len(prompt) - 1 : -1])
        tokens.extend(output)
    held = hold(np.concatenate(logits), tokens, "float32")
    assert held.is_evidence
    assert held.wrong == ()


def test_private_platform_brings_one_kernel_and_the_base_the_rest(folder: Path) -> None:
    told = toy(folder, "acme")
    assert_right(told.outputs)
    assert told.providers["silu_gate"] == ["octavo_acme"]
    others = {name for op, names in told.providers.items() if op != "silu_gate" for name in names}
    assert others == {"octavo_torch"}
    assert told.changes == []


def test_fork_attends_in_its_own_layout_which_the_base_writes(folder: Path) -> None:
    told = toy(folder, "acme_heads")
    assert_right(told.outputs)
    assert told.providers["attention"] == ["octavo_fork"]
    assert told.layouts == {"kv": "heads of a block"}
    others = {name for op, names in told.providers.items() if op != "attention" for name in names}
    assert others == CPU_FALLBACK
    assert told.changes == []


def test_fork_whose_layout_nobody_writes_gives_way_and_that_is_told(folder: Path) -> None:
    told = toy(folder, "acme_columns")
    assert_right(told.outputs)
    assert told.providers["attention"] == ["octavo_cpu"]
    assert told.layouts["kv"] != "columns"
    (refusal,) = [each for each in told.refusals if each.startswith("octavo_fork")]
    assert refusal.startswith("octavo_fork: fork.attention wants the state 'columns', and it is")
    assert told.changes == []


def test_private_ops_run_in_a_private_model(folder: Path) -> None:
    found = private(folder, "float32")
    providers = found["providers"]
    assert isinstance(providers, dict)
    assert providers["acme::square_gate"] == providers["acme::count"] == ["octavo_ops"]
    assert found["counts"] == [4, 2, 4, 2], "two launches read 3 twice, 7 and 10 once"
    assert found["same"] is True


def test_private_op_that_is_not_claimed_runs_as_its_primitives(folder: Path) -> None:
    wide, narrow = (private(folder, dtype) for dtype in ("float32", "bfloat16"))
    providers = narrow["providers"]
    assert isinstance(providers, dict)
    assert providers["linear of acme::square_gate"] == ["octavo_torch"]
    assert narrow["refusals"] == ["octavo_ops: the square gate is for float32"]
    assert narrow["counts"] == wide["counts"]


def test_platform_without_the_private_op_refuses_its_model_in_words(folder: Path) -> None:
    code = """
from octavo_ops import model
from octavo_platforms import bind, discover
from octavo_platforms.capabilities import DeviceSettings
program = model.program(discover.load("acme_ops").catalogue, "float32")
platform = discover.load("acme")
bind(program, platform, platform.open_device((0,), DeviceSettings()))
"""
    last = python(folder, code).stderr.splitlines()[-1]
    assert "the platform 'acme' has no op 'acme::square_gate', which stands at 'gate'" in last


def test_suite_judges_the_private_ops_of_an_installed_platform(folder: Path) -> None:
    words = ("--level", "2", "-k", "private", "--fast")
    ended = console(folder, "octavo_conformance.cli", "run", "--device", "acme_ops", *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 PASS, 4 FALLBACK" in ended.stdout


def test_fork_keeps_the_promises_of_attention_in_its_own_layout(folder: Path) -> None:
    words = ("--level", "0,2", "-k", "a", "--fast")
    ended = console(folder, "octavo_conformance.cli", "run", "--device", "acme_heads", *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_plugin_of_another_contract_is_listed_with_the_reason_and_not_imported(
    folder: Path,
) -> None:
    ended = console(folder, "octavo.cli.main", "devices")
    (line,) = [each for each in ended.stdout.splitlines() if "acme_old" in each]
    assert "no " in line
    assert "it was made for contract 0.0" in line


def test_plugin_of_another_contract_is_refused_by_its_name(folder: Path) -> None:
    code = "from octavo.loading import choose; choose('acme_old')"
    last = python(folder, code).stderr.splitlines()[-1]
    assert "--device acme_old: the platform 'acme_old' cannot be used: it was made for" in last
