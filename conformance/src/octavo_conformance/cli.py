"""The console script: run the suite on a platform, the planted bugs through the suite, or begin.

    octavo-conformance new acme --base torch
    octavo-conformance run --device cpu --level 0,1,2 --markdown report.md
    octavo-conformance mutants

Exit status: 0 where every promise is kept, 1 for a FAIL or CRASH or a surviving mutant, 2 for
a platform that cannot be found or written, 3 where no device was found to test. Knows no case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from octavo_conformance import report
from octavo_conformance.catalogue import LEVELS, selected
from octavo_conformance.isolated import run_isolated
from octavo_conformance.mutants.hunt import hunt
from octavo_conformance.mutants.planted import MUTANTS
from octavo_conformance.running import run
from octavo_conformance.scaffold import BASES, CannotWrite, write_package
from octavo_conformance.subject import find
from octavo_conformance.verdict import Result, Verdict
from octavo_platforms.errors import PlatformError

WRITERS = (
    ("json", report.to_json), ("junit", report.to_junit), ("markdown", report.to_markdown),
    ("badge", report.to_badge),
)  # fmt: skip
EXIT_STATUS = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.ENV: 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "mutants":
        return _mutants(options)
    if options.command == "new":
        return _new(options)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    cases = selected(options.level, options.k)
    if options.list:
        print("\n".join(f"{case.id}  {case.sentence}" for case in cases))
        return 0
    if not cases:
        print(f"no case of level {options.level} has '{options.k}' in its name", file=sys.stderr)
        return 2
    if options.device is None:
        print("which platform? add --device NAME; `octavo devices` lists them", file=sys.stderr)
        return 2
    try:
        subject = find(options.device)
    except PlatformError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        subject.load()
    except PlatformError as error:
        print(f"only level 0 can be tried: {error}", file=sys.stderr)
        cases = tuple(case for case in cases if case.level == 0)
        if not cases:
            return 2
    runs = run_isolated if options.isolate else run
    results = []
    for number, result in enumerate(runs(subject, cases, is_fast=options.fast), 1):
        results.append(result)
        _tell(result, number, len(cases))
    for name, write in WRITERS:
        path: Path | None = getattr(options, name)
        if path is not None:
            path.write_text(write(options.device, results), encoding="utf-8")
    print(f"\n{report.table(results)}\n\n{options.device}: {report.summary(results)}")
    return EXIT_STATUS[report.outcome(results)]


def _mutants(options: argparse.Namespace) -> int:
    wanted = [mutant for mutant in MUTANTS if options.k in mutant.name]
    survivors = 0
    for mutant in wanted:
        found = hunt(mutant)
        survivors += found is None
        fate = "SURVIVES" if found is None else f"found by {found.case}: {found.detail}"
        print(f"{mutant.name:<44} {fate[:160]}", flush=True)
    print(f"{len(wanted)} planted bugs, {survivors} not found")
    return 1 if survivors or not wanted else 0


def _new(options: argparse.Namespace) -> int:
    folder: Path = options.into or Path(f"octavo-plugin-{options.name.replace('_', '-')}")
    try:
        written = write_package(options.name, folder, base=options.base)
    except CannotWrite as reason:
        print(reason, file=sys.stderr)
        return 2
    print("\n".join(str(path) for path in written))
    print(f"\nnext: pip install -e {folder} && octavo-conformance run --device {options.name}")
    return 0


def _tell(result: Result, number: int, total: int) -> None:
    line = f"{number:>4}/{total} {result.verdict:<11} {result.case}"
    if result.verdict.is_bad:
        print(f"{line}\n          {result.detail}", flush=True)
    elif sys.stderr.isatty():
        print(f"\r\033[K{line}", end="\r", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="octavo-conformance", description="Prove each promise that a platform makes."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="run the suite on an installed platform")
    one.add_argument("--device", metavar="NAME[:MODE]", help="the platform to test")
    one.add_argument("--level", type=_levels, default=LEVELS, help="0,1,2,3 (all is the default)")
    one.add_argument("-k", default="", metavar="WORDS", help="cases whose id holds all words")
    one.add_argument("--fast", action="store_true", help="try laws on fewer examples")
    one.add_argument("--isolate", action="store_true", help="survive the end of the process")
    one.add_argument("--list", action="store_true", help="list the cases and stop")
    for name, _ in WRITERS:
        one.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {name} to a file")
    fresh = commands.add_parser("new", help="write the package of a new platform")
    fresh.add_argument("name", metavar="NAME", help="what --device will call it")
    fresh.add_argument("--base", choices=BASES, default="torch", help="what stands behind it")
    fresh.add_argument("--into", type=Path, metavar="FOLDER", help="octavo-plugin-NAME by default")
    planted = commands.add_parser("mutants", help="let the suite find planted bugs")
    planted.add_argument("-k", default="", metavar="WORD", help="mutants whose name holds a word")
    return parser


def _levels(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of levels") from error
    if not set(found) <= set(LEVELS):
        raise argparse.ArgumentTypeError(f"levels are {', '.join(map(str, LEVELS))}, not {text}")
    return found


if __name__ == "__main__":
    sys.exit(main())
