"""Every rule of check_style is seen to fail on a bad snippet and to pass on its mended form.

Does not know: the project's own files; `nox -s check` applies the rules to those.
"""

from pathlib import Path, PurePosixPath

import pytest

import check_style

CORE = "core/src/octavo/plan.py"
TEST = "core/tests/test_plan.py"
DOC = '"""Idea."""\n'
LONG_BODY = "    x = 1\n" * 60
LONG_CPP = "int run(int x) {\n" + "  x += 1;\n" * 79 + "}\n"

BROKEN = [
    ("file-lines", CORE, DOC + "x = 1\n" * 400),
    ("file-lines", "plugins/cpu/csrc/gemm.cpp", "int x;\n" * 801),
    ("function-lines", CORE, DOC + f"def f() -> None:\n{LONG_BODY}"),
    ("function-lines", "plugins/cpu/csrc/gemm.cpp", LONG_CPP),
    ("positional-args", CORE, DOC + "def f(a, b, c, d, e, f, g): ...\n"),
    ("docstring", CORE, "x = 1\n"),
    ("docstring", "core/src/octavo/__init__.py", ""),
    ("module-name", "core/src/octavo/utils.py", DOC),
    ("module-name", "core/src/octavo/common/plan.py", DOC),
    ("module-name", "core/tests/test_helpers.py", DOC),
    ("environment", CORE, DOC + "import os\nx = os.environ['X']\n"),
    ("environment", CORE, DOC + "import os\nx = os.getenv('X')\n"),
    ("environment", CORE, DOC + "from os import environ\n"),
    ("device-words", CORE, DOC + "if platform.is_cuda(): ...\n"),
    ("device-words", CORE, DOC + "x = torch.cuda.synchronize()\n"),
    ("device-words", CORE, DOC + "import jax.numpy\n"),
    ("device-words", CORE, DOC + "x = {'device': 'cuda:0'}\n"),
    ("device-words", CORE, DOC + "x = 'cpu'\n"),
    ("device-words", CORE, DOC + "def gpu_blocks(): ...\n"),
    ("todo", CORE, DOC + "# TODO: later\n"),
    ("todo", CORE, '"""Idea. FIXME one day."""\n'),
    ("todo", "plugins/cpu/csrc/gemm.cpp", "// TODO\n"),
    ("patching", TEST, DOC + "def test_x(monkeypatch): ...\n"),
    ("patching", TEST, DOC + "from unittest import mock\n"),
    ("patching", TEST, DOC + "import unittest.mock\n"),
    ("patching", TEST, DOC + "with mock.patch('x'): ...\n"),
    ("patching", TEST, DOC + "x = Engine.__new__(Engine)\n"),
    ("private-import", TEST, DOC + "from octavo.plan import _cost\n"),
    ("private-import", CORE, DOC + "import octavo._plan\n"),
    ("private-import", CORE, DOC + "from octavo._plan import cost\n"),
]

MENDED = [
    (CORE, DOC + "x = 1\n" * 399),
    (CORE, DOC + f"def f() -> None:\n{LONG_BODY[10:]}"),
    (CORE, DOC + "class A:\n    def f(self, a, b, c, d, e, f, *, g): ...\n"),
    ("core/src/octavo/config.py", DOC + "import os\nx = os.environ['X']\n"),
    ("plugins/cpu/src/octavo_cpu/probe.py", DOC + "import os\nx = os.environ['X']\nimport torch\n"),
    (CORE, '"""Run on cuda or on a cpu; an operator would say `--device cuda`."""\n'),
    (CORE, DOC + "x = config['torch_dtype']\n"),
    (CORE, DOC + "num_chips = count('cpuset', architecture='hipster')\n"),
    (CORE, DOC + "# TODO(#12): later\n"),
    (TEST, DOC + "def test_mocking_is_not_needed(tmp_path): ...\n"),
    (TEST, DOC + "from __future__ import annotations\nfrom octavo import __version__\n"),
    ("plugins/cpu/csrc/gemm.cpp", LONG_CPP.replace("  x += 1;\n", "", 1) + "int other() {\n}\n"),
]


def found_in(path: str, text: str) -> list[check_style.Violation]:
    return check_style.check([check_style.parse(PurePosixPath(path), text)], [])


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_rule_fails_on_the_snippet_that_breaks_it(rule: str, path: str, text: str) -> None:
    assert {violation.rule for violation in found_in(path, text)} == {rule}


@pytest.mark.parametrize(("path", "text"), MENDED)
def test_mended_snippet_breaks_no_rule(path: str, text: str) -> None:
    assert found_in(path, text) == []


def test_every_rule_has_a_snippet_that_breaks_it() -> None:
    named = {rule.__name__.removeprefix("cpp_").replace("_", "-") for rule in check_style.RULES}
    assert named == {rule for rule, _, _ in BROKEN}


def test_method_names_are_qualified_by_their_class_and_function() -> None:
    text = DOC + "class A:\n    def f(self) -> None:\n        def g(a, b, c, d, e, f, h): ...\n"
    assert [violation.name for violation in found_in(CORE, text)] == ["A.f.g"]


def exemption(**changes: object) -> list[check_style.Exemption]:
    row: dict[str, object] = {"rule": "file-lines", "path": CORE, "limit": 450, "reason": "a table"}
    lines = [f"{key} = {value!r}" for key, value in (row | changes).items()]
    return check_style.read_exemptions("[[exception]]\n" + "\n".join(lines))


LONG = check_style.parse(PurePosixPath(CORE), DOC + "x = 1\n" * 420)


def test_exception_excuses_a_file_up_to_its_limit() -> None:
    assert check_style.check([LONG], exemption()) == []


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"limit": 410}, {"file-lines", "stale-exception"}),
        ({"path": "core/src/octavo/gone.py"}, {"file-lines", "stale-exception"}),
        ({"rule": "docstring"}, {"file-lines", "stale-exception"}),
        ({"reason": " "}, {"stale-exception"}),
    ],
)
def test_exception_that_excuses_nothing_or_says_no_reason_is_an_error(
    changes: dict[str, object], rules: set[str]
) -> None:
    left = check_style.check([LONG], exemption(**changes))
    assert {violation.rule for violation in left} == rules


def test_misspelt_key_of_an_exception_is_an_error() -> None:
    with pytest.raises(TypeError, match="reasons"):
        exemption(reasons="two")


def test_command_reports_the_file_and_exits_nonzero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = tmp_path / "core/src/octavo"
    room.mkdir(parents=True)
    (room / "plan.py").write_text("x = 1\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/not_ours.py").write_text("x = 1\n")
    (tmp_path / "budget.toml").write_text("")
    assert check_style.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("core/src/octavo/plan.py:1: [docstring]")
    (room / "plan.py").write_text(DOC)
    assert check_style.main([str(tmp_path)]) == 0
