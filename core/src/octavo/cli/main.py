"""The entry points: choose a command, run it, and say in one message what went wrong.

Does not know what any command does.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence

from octavo.cli import chat, devices, models, plan
from octavo.cli import serve as serving
from octavo.errors import OctavoError
from octavo_platforms.errors import PlatformError

EXAMPLES = """\
examples:
  octavo serve                          serve the demo model on http://127.0.0.1:8000
  octavo serve ./my-model --device cpu  serve a folder with config.json and safetensors
  octavo chat model.gguf                talk to a model in this terminal
  octavo plan ./my-model                see what would run where, without reading weights
  octavo devices                        see which devices can be used
  octavo models                         see which families of models they run
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and give the exit status."""
    parser, commands = _parsers()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(_unknown(unknown[0], commands[args.command]))
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except (OctavoError, PlatformError) as error:
        print(f"octavo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def serve(argv: Sequence[str] | None = None) -> int:
    """Run `octavo serve` under its own name."""
    return main(["serve", *(sys.argv[1:] if argv is None else argv)])


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="octavo",
        description="An LLM inference and serving engine whose core knows no device.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in (
        ("serve", serving),
        ("chat", chat),
        ("plan", plan),
        ("devices", devices),
        ("models", models),
    ):
        each = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=f"{command.SUMMARY}.",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_flags(each)
        each.set_defaults(run=command.run)
    return parser, dict(commands.choices)


def _unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    """Say that an argument is not known, and which one was perhaps meant."""
    name = argument.split("=")[0]
    known = re.findall(r"--[a-z][a-z-]*", parser.format_usage())
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"'{name}' is not known to '{parser.prog}'.{hint} See '{parser.prog} --help'."
