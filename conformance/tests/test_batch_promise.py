"""Batch invariance is held to the bit: who forgets the promise when it opens a device is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import octavo_cpu
from octavo_conformance.catalogue import CASES
from octavo_conformance.running import run
from octavo_conformance.subject import given
from octavo_conformance.verdict import Result, Verdict
from octavo_cpu.host import discover, probe, stats
from octavo_cpu.overrides import CpuKernels
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import DeviceContext
from octavo_torch import TorchPlatform

CASE = "3/batch/gives_the_same_bits_in_every_batch_and_chunk[float32]"


class Forgets:
    """The CPU, whose kernels are shaped by their batch whatever is asked for."""

    @hookimpl
    def open_device(self, devices: Sequence[int], settings: DeviceSettings) -> DeviceContext:
        """Open it as usual."""
        return octavo_cpu.platform.open_device(
            tuple(devices), replace(settings, batch_invariant=False)
        )


def result_on(platform: TorchPlatform) -> Result:
    subject = given(platform, name="cpu", origin="octavo_cpu:platform")
    (found,) = run(subject, [case for case in CASES if case.id == CASE], is_fast=True)
    return found


def test_who_keeps_the_promise_gives_the_same_bits_in_every_batch() -> None:
    assert result_on(octavo_cpu.platform).verdict is Verdict.PASS


def test_who_forgets_the_promise_is_found_by_other_bits() -> None:
    forgetful = TorchPlatform(
        name="cpu",
        device="cpu",
        vendor="host",
        dtypes=("bfloat16", "float32", "float16"),
        probe=probe,
        discover=discover,
        stats=stats,
        overrides=(Forgets(), CpuKernels()),
    )
    found = result_on(forgetful)
    assert found.verdict is Verdict.FAIL
    assert "its logits have other bits" in found.detail
