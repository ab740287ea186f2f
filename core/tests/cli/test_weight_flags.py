"""Flags of weights: what is given becomes settings, the same as a program's wishes."""

from __future__ import annotations

import argparse

import pytest

from octavo.cli.flags import add_model_flags, settings_of
from octavo.wishes import settings_of as wished


@pytest.mark.parametrize("flag", ["--quantization", "-q"])
def test_a_flag_and_a_wish_for_rounding_make_the_same_settings(flag: str) -> None:
    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    made = settings_of(parser.parse_args(["model", flag, "int4"]))
    assert made == wished("model", quantization="int4")
    assert made.quantization == "int4"
    assert settings_of(parser.parse_args(["model"])).quantization is None
