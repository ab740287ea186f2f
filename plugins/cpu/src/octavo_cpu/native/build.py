"""Building the native library in a checkout, by hand.

    python -m octavo_cpu.native.build               what the package's build does as well
    python -m octavo_cpu.native.build --sanitize    with run-time checks, for `:sanitized`

Knows nothing of compilers (`compiler` does).
"""

from __future__ import annotations

import argparse
import sys

from octavo_cpu.native.compiler import COMMAND, BuildError, build


def main(arguments: list[str] | None = None) -> int:
    """Build, and say where it is; gives the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Compile the native CPU library.")
    parser.add_argument("--sanitize", action="store_true", help="with run-time checks, slow")
    options = parser.parse_args(arguments)
    try:
        print(build(is_sanitized=options.sanitize))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
