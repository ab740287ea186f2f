"""`octavo plan`: what of a model would run where, without reading its weights.

Does not know how a plan is made.
"""

from __future__ import annotations

import argparse

from octavo.cli.flags import add_model_flags, settings_of

SUMMARY = "Show which op of a model would run where, and why"
EXAMPLES = "example:\n  octavo plan ./my-model --device cpu"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_model_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Print the plan.

    Effects: reads no weights; opens the device for as long as it takes to ask it.
    """
    from octavo.loading import plan

    print(plan(settings_of(args)).full())
    return 0
