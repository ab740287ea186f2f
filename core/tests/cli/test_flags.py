"""Flags of scheduling: what is given becomes settings, the same as a program's wishes."""

from __future__ import annotations

import argparse

import pytest

from octavo.cli.flags import add_model_flags, settings_of
from octavo.config import Settings
from octavo.errors import OperatorError
from octavo.wishes import settings_of as wished


def parsed(*argv: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    return settings_of(parser.parse_args(["model", *argv]))


def test_flags_and_wishes_of_scheduling_make_the_same_settings() -> None:
    flags = parsed(
        "--scheduling-policy", "priority", "--long-prefill-token-threshold", "512",
        "--prefill-schedule-interval", "2", "--watermark", "0.05",
    )  # fmt: skip
    assert flags == wished(
        "model",
        scheduling_policy="priority",
        long_prefill_token_threshold=512,
        prefill_schedule_interval=2,
        watermark=0.05,
    )
    assert flags.scheduling_policy == "priority"
    assert (flags.long_prefill_tokens, flags.prefill_interval, flags.watermark) == (512, 2, 0.05)
    whole = parsed("--no-enable-chunked-prefill")
    assert whole == wished("model", enable_chunked_prefill=False)
    assert not whole.chunked_prefill


def test_without_flags_who_came_first_is_first_and_prompts_are_cut_at_need() -> None:
    made = parsed()
    assert made == wished("model")
    assert (made.scheduling_policy, made.chunked_prefill, made.long_prefill_tokens) == (
        "fcfs",
        True,
        0,
    )


def test_flags_that_contradict_each_other_are_refused_by_name() -> None:
    with pytest.raises(OperatorError, match="--no-enable-chunked-prefill"):
        parsed("--no-enable-chunked-prefill", "--long-prefill-token-threshold", "8")
