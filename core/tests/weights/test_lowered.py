"""Tensors that are stored as one more than the weight: read and filled as the weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from octavo.weights.lowered import Lowered
from octavo.weights.safetensors import SafetensorsSource
from octavo_platforms.tensor import HostTensor, host, to_float

NORM = np.arange(8, dtype=np.float32) / 4


def test_only_what_is_stored_as_one_more_is_lowered_read_or_filled(tmp_path: Path) -> None:
    save_file({"norm": NORM + 1, "plain": NORM}, tmp_path / "model.safetensors")
    source = Lowered(SafetensorsSource(tmp_path), lambda name: name == "norm")
    for name in ("norm", "plain"):
        into = host(np.empty(8, np.float32))
        source.fill(name, into)
        narrow = HostTensor(np.empty(8, np.uint16), "bfloat16")
        source.fill(name, narrow)
        for found in (source.read(name), into, narrow):
            np.testing.assert_array_equal(to_float(found), NORM)
