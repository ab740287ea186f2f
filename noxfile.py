"""The commands of a working day: `./dev SESSION [ARGS]`, or `nox -s SESSION -- ARGS`.

Sessions run in the environment that nox runs in, which `./dev` fills: nothing is installed twice.
Does not know: what a check consists of; each tool reads its own part of pyproject.toml.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["check", "test"]
nox.options.error_on_external_run = False

ROOT = Path(__file__).parent
ROOMS = [
    "platforms/contract",
    "platforms/torch",
    "platforms/jax",
    "platforms/emulated",
    "core",
    "plugins/cpu",
    "conformance",
]
OWN_CODE = ["noxfile.py", ".ci/check_style.py", ".ci/tests", "benchmarks"]
CONFORMANCE = ("-m", "octavo_conformance.cli")
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def python(session: nox.Session, *arguments: str) -> None:
    """Run this environment's Python, wherever the checkout was moved to."""
    session.run(sys.executable, *arguments, external=True)


@nox.session
def check(session: nox.Session) -> None:
    """Check form, types, imports, style and the contract's lock; runs no test."""
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")
    python(session, ".ci/check_style.py")
    python(session, "-c", LINT_IMPORTS)
    python(session, "-m", "octavo_platforms.lock", "--check")
    tests = [f"{room}/tests" for room in ROOMS if (ROOT / room / "tests").is_dir()]
    sources = [f"{room}/src" for room in ROOMS]
    python(session, "-m", "mypy", *OWN_CODE, *sources, *tests)


@nox.session
def test(session: nox.Session) -> None:
    """Run every room's tests; arguments go to pytest."""
    demo_model(session)
    native_library(session)
    python(session, "-m", "pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def walks(session: nox.Session) -> None:
    """Walk at random through the heart's books for a long time; run it by night."""
    session.env["OCTAVO_WALK_MOVES"] = "200000"
    python(session, "-m", "pytest", "-n", "2", "-k", "walk", "core/tests", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Hold one platform to its promises; the first argument names it, `cpu` when there is none."""
    device, *rest = session.posargs or ["cpu"]
    python(session, *CONFORMANCE, "run", "--device", device, *rest)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the suite on the native program, built to find bad memory and undefined behaviour."""
    python(session, "-m", "octavo_cpu.native.build", "--sanitize")
    names = ("libasan.so", "libubsan.so", "libstdc++.so")
    found = [
        session.run("g++", f"-print-file-name={name}", silent=True, external=True) for name in names
    ]
    session.env["LD_PRELOAD"] = " ".join(str(path).strip() for path in found)
    session.env["ASAN_OPTIONS"] = "detect_leaks=0"  # the interpreter itself keeps memory
    python(session, *CONFORMANCE, "run", "--device", "cpu_native:sanitized")


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant bugs in a platform, one after the other; fails when the suite misses one."""
    python(session, *CONFORMANCE, "mutants", *session.posargs)


@nox.session
def parity(session: nox.Session) -> None:
    """Hold every family on every platform against transformers, and write docs/models.md."""
    session.env["PYTHONPATH"] = str(ROOT / "conformance" / "tests")
    python(session, "-m", "parity.table", "docs/models.md", *session.posargs)


@nox.session
def written(session: nox.Session) -> None:
    """Have each scheme's own library write its fixture anew, or with --page write the page."""
    session.env["PYTHONPATH"] = str(ROOT / "conformance" / "tests")
    page, fixtures = "docs/quantised.md", "conformance/tests/written/fixtures"
    names = [each for each in session.posargs if each != "--page"]
    if "--page" not in session.posargs:
        python(session, "-m", "written.write", fixtures, *names)
    python(session, "-m", "written.page", page)


@nox.session
def perplexity(session: nox.Session) -> None:
    """Score a text by a model, as it is and quantised; needs --model, and writes the figures."""
    session.env["PYTHONPATH"] = str(ROOT / "conformance" / "tests")
    out = "benchmarks/results/perplexity.json"
    python(session, "-m", "written.perplexity", "--out", out, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run one benchmark: `./dev bench offline --model FILE`; the rest goes to it."""
    name, *rest = session.posargs or ["host_cost"]
    python(session, f"benchmarks/{name}.py", *rest)


@nox.session
def build(session: nox.Session) -> None:
    """Build every room's wheel and source archive into dist/."""
    for room in ROOMS:
        session.chdir(ROOT / room)
        python(session, "-m", "hatchling", "build", "-d", str(ROOT / "dist"))


@nox.session
def serve(session: nox.Session) -> None:
    """Serve a model over HTTP; arguments go to `octavo serve`."""
    octavo = Path(sys.executable).with_name("octavo")
    session.run(str(octavo), "serve", *session.posargs, external=True)


def native_library(session: nox.Session) -> None:
    """Build the C++ program from the sources as they are; say so when there is no compiler."""
    try:
        python(session, "-m", "octavo_cpu.native.build")
    except nox.command.CommandFailed:
        session.warn("no native library: the tests that need it will be skipped, and say so")


def demo_model(session: nox.Session) -> None:
    """Fetch the small model that some tests need; say so when it cannot be had."""
    try:
        python(session, "-m", "octavo.weights.demo")
    except nox.command.CommandFailed:
        session.warn("no demo model: the tests that need it will be skipped, and say so")
