"""Discovery: by metadata, importing the chosen platform and no other.

Packages are made on disk as installers make them, and found in a process of its own. Does not
know any real platform.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from octavo_platforms.capabilities import PlatformInfo
from octavo_platforms.discover import GROUP, Candidate, load
from octavo_platforms.errors import NotFound, Refused
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.version import CONTRACT

OURS = f"{CONTRACT[0]}.{CONTRACT[1]}"
PLUGIN = """
from octavo_platforms.capabilities import PlatformInfo, Probe
from octavo_platforms.hooks import hookimpl


class Plugin:
    def __init__(self, name, extends=None):
        self.info = PlatformInfo(
            name=name, device="none", vendor="none", dtypes=("float32",), extends=extends
        )

    @hookimpl
    def platform_info(self):
        return self.info


class Base(Plugin):
    @hookimpl
    def probe(self):
        return Probe(True, "from behind", 1)


acme = Plugin("acme")
fork = Plugin("fork", extends="stock")
stock = Base("stock")
"""
LISTING = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from octavo_platforms.discover import installed
print(json.dumps([[c.name, c.distribution, c.version, c.refusal] for c in installed()]))
assert "toy_plugin" not in sys.modules, "listing imported a plugin"
"""


def announce(folder: Path, distribution: str, name: str, requires: str | None) -> None:
    info = folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 1.5"]
    lines += [] if requires is None else [f"Requires-Dist: {requires}"]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = toy_plugin:{name}\n")


def listed(folder: Path) -> dict[str, list[str | None]]:
    paths = json.dumps([str(folder), *sys.path])
    command = [sys.executable, "-c", LISTING, paths]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return {row[1]: row for row in json.loads(ended.stdout)}


@pytest.mark.parametrize(
    "requires",
    [f"octavo-platforms=={OURS}.*", f"octavo_platforms (~={OURS}.0)", f"octavo-platforms=={OURS}"],
)
def test_package_that_names_this_contract_may_be_loaded(tmp_path: Path, requires: str) -> None:
    announce(tmp_path, "octavo-acme", "acme", requires)
    assert listed(tmp_path)["octavo-acme"] == ["acme", "octavo-acme", "1.5", None]


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ("octavo-platforms==7.3.*", f"made for contract 7.3, and this is contract {OURS}"),
        ("octavo-platforms>=0.1", "names no contract number"),
        ("octavo-platforms", "names no contract number"),
        ("numpy", "does not require octavo-platforms"),
        (None, "does not require octavo-platforms"),
    ],
)
def test_package_of_another_contract_is_listed_with_the_reason(
    tmp_path: Path, requires: str | None, words: str
) -> None:
    announce(tmp_path, "octavo-acme", "acme", requires)
    refusal = listed(tmp_path)["octavo-acme"][3]
    assert refusal is not None
    assert words in refusal


def candidate(
    name: str, *, distribution: str = "octavo-acme", refusal: str | None = None, where: str = ""
) -> Candidate:
    entry_point = EntryPoint(name, where or f"toy_plugin:{name}", GROUP)
    return Candidate(name, distribution, "1.5", entry_point, refusal)


def test_unknown_name_lists_what_is_installed() -> None:
    with pytest.raises(NotFound, match="no platform 'tpu'; installed: acme, stock"):
        load("tpu", [candidate("stock"), candidate("acme")])


def test_two_packages_of_one_name_are_both_named_and_neither_is_imported() -> None:
    twins = [candidate("acme"), candidate("acme", distribution="other-acme")]
    with pytest.raises(Refused, match=r"octavo-acme 1\.5 and other-acme 1\.5"):
        load("acme", twins)


def test_refused_package_is_not_imported() -> None:
    with pytest.raises(Refused, match=r"made for contract 7\.3"):
        load("acme", [candidate("acme", refusal="it was made for contract 7.3")])


@pytest.mark.parametrize("where", ["no_such_module_anywhere:acme", "json:no_such_name"])
def test_package_that_cannot_be_imported_is_refused_with_the_cause(where: str) -> None:
    with pytest.raises(Refused, match=r"cannot be imported: .*no_such"):
        load("acme", [candidate("acme", where=where)])


def test_package_that_fails_in_any_other_way_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "toy_plugin.py").write_text("raise RuntimeError('no driver of this age')")
    announce(tmp_path, "octavo-acme", "acme", f"octavo-platforms=={OURS}.*")
    code = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from octavo_platforms.discover import load
from octavo_platforms.errors import Refused
try:
    load("acme")
except Refused as refusal:
    print(refusal)
"""
    command = [sys.executable, "-c", code, json.dumps([str(tmp_path), *sys.path])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot be imported: RuntimeError: no driver of this age" in ended.stdout, ended.stderr


def test_fork_brings_the_platform_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "toy_plugin.py").write_text(PLUGIN)
    for name in ("fork", "stock"):
        announce(tmp_path, f"octavo-{name}", name, f"octavo-platforms=={OURS}.*")
    script = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from octavo_platforms.discover import load\n"
        "print(load('fork').info.name, '|', load('fork').probe().words)"
    )
    command = [sys.executable, "-c", script, json.dumps([str(tmp_path), *sys.path])]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "fork | from behind"


class Quiet:
    @hookimpl
    def platform_info(self) -> PlatformInfo:
        return PlatformInfo(name="quiet", device="none", vendor="none", dtypes=("float32",))


class UnknownHook(Quiet):
    @hookimpl
    def bind_everything(self) -> None:
        """Be called by nobody."""


class Nameless:
    @hookimpl
    def platform_info(self) -> None:
        """Say nothing."""


def test_hook_that_the_contract_does_not_have_is_refused() -> None:
    with pytest.raises(Refused, match="bind_everything"):
        Platform(UnknownHook())


def test_platform_without_an_identity_is_refused() -> None:
    with pytest.raises(Refused, match="platform_info"):
        Platform(Nameless())
    assert Platform(Quiet()).info.name == "quiet"
