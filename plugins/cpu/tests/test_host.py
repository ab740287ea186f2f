"""The host: found in an instant, in words, with figures that can be."""

from __future__ import annotations

import subprocess
import sys

from octavo_cpu.host import discover, num_cores, probe, stats


def test_asking_the_plugin_imports_no_torch() -> None:
    code = (
        "import octavo_cpu, sys; octavo_cpu.platform.probe(); "
        "octavo_cpu.platform.discover_devices(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_probe_always_finds_a_cpu_and_says_which() -> None:
    found = probe()
    assert found.found
    assert found.priority > 0
    assert f"{num_cores()} cores" in found.words


def test_the_host_is_one_device_with_the_memory_that_is_there() -> None:
    (device,) = discover()
    found = stats(0)
    assert device.index == 0
    assert device.name
    assert device.memory_bytes == found.total_bytes
    assert 0 < found.free_bytes <= found.total_bytes
