"""The platform's face: what it says, what it opens, and what it refuses in words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import CannotStart
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext


def test_importing_the_base_does_not_import_torch() -> None:
    code = "import octavo_torch, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_promises_the_joined_step_and_invariance_and_that_its_memory_is_the_hosts(
    platform: Platform,
) -> None:
    assert platform.info.claims == {"step", "batch_invariant"}
    assert platform.info.host_memory


@pytest.mark.parametrize("devices", [(), (0, 1), (7,)])
def test_a_device_that_cannot_be_opened_is_refused_with_a_remedy(
    platform: Platform, devices: tuple[int, ...]
) -> None:
    with pytest.raises(CannotStart, match="--devices"):
        platform.open_device(devices, DeviceSettings())


def test_an_unknown_mode_is_refused_by_name(platform: Platform) -> None:
    with pytest.raises(CannotStart, match="'wild'"):
        platform.open_device((0,), DeviceSettings(mode="wild"))


def test_a_context_closes_twice_and_names_its_device(context: DeviceContext) -> None:
    context.close()
    assert [device.index for device in context.devices] == [0]
