"""The law of loading: host memory stays below what is placed, two largest tensors and 300 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from octavo.config import from_environment
from octavo.weights.demo import SMOLLM2

SLACK_BYTES = 300_000_000

# Runs in a process of its own: the peak that the kernel keeps is a process's, and is reset
# once the framework is imported and the device is open.
PROGRAM = """
import json, sys
from dataclasses import replace
from pathlib import Path
from octavo import loading
from octavo.config import from_environment
from octavo.weights.load import load

def kib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

settings = replace(from_environment(), model=sys.argv[1], device="cpu", dtype=sys.argv[2])
made = loading.plan(settings)
context = made.platform.open_device((0,), loading.choose("cpu")[1])
memory = made.platform.make_memory(context)
Path("/proc/self/clear_refs").write_text("5")
before = kib("VmRSS")
placed = load(made.program, made.binding, made.checkpoint, memory)
largest = max(weight.num_bytes for weight in made.program.weights)
peak = (kib("VmHWM") - before) * 1024
print(json.dumps({"peak": peak, "placed": made.weight_bytes, "largest": largest}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's clear_refs")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_loading_keeps_within_its_memory(dtype: str) -> None:
    path = from_environment().cache_dir / "models" / Path(SMOLLM2.member).name
    if not path.is_file():
        pytest.skip(f"needs the demo model at {path}: python -m octavo.weights.demo fetches it")
    command = [sys.executable, "-c", PROGRAM, str(path), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["peak"] <= found["placed"] + 2 * found["largest"] + SLACK_BYTES
    assert found["peak"] >= found["placed"] // 2, "the peak was not measured"
