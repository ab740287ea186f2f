"""A source seen through its scheme: lazy, narrow, and honest about what it does not know."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from octavo.errors import ModelError
from octavo.weights.find import find
from octavo.weights.quantised.source import RUN_NUMBERS, Dequantised, delivered
from octavo_platforms.program import WeightDef
from octavo_platforms.recipes import Take
from octavo_platforms.tensor import DType, HostTensor, cast, host, to_float

from .written import opened

FP8 = {"quant_method": "fp8"}


def large(folder: Path, rows: int = 64) -> Dequantised:
    drawn = np.random.default_rng(0).integers(0, 256, (rows, 1 << 17), np.uint8) & 0xF7
    stored = torch.from_numpy(drawn).view(torch.float8_e4m3fn)
    scale = torch.rand(rows, 1, generator=torch.Generator().manual_seed(0))
    return opened(folder, {"layer.weight": stored, "layer.weight_scale": scale}, FP8)


def in_dtype(source: Dequantised, dtype: DType) -> Dequantised:
    weight = WeightDef("own", source.shape("layer.weight"), dtype, Take("layer.weight"))
    found = delivered(source, [weight])
    assert isinstance(found, Dequantised)
    return found


def test_a_tensor_is_rounded_once_to_the_dtype_that_was_asked_for(tmp_path: Path) -> None:
    source = large(tmp_path)
    assert source.shape("layer.weight")[0] * source.shape("layer.weight")[1] > RUN_NUMBERS
    wide = source.read("layer.weight")
    codes, scale = (to_float(source.stored.read(each)) for each in source.made["layer.weight"].uses)
    np.testing.assert_array_equal(wide.array, codes * scale)
    narrow = in_dtype(source, "bfloat16").read("layer.weight")
    assert (wide.dtype, narrow.dtype) == ("float32", "bfloat16")
    np.testing.assert_array_equal(narrow.array, cast(host(wide.array), "bfloat16").array)


def test_a_tensor_is_made_in_an_array_as_it_would_be_read(tmp_path: Path) -> None:
    source = large(tmp_path)
    for name in source.names():
        into = HostTensor(np.empty(source.shape(name), np.uint16), "bfloat16")
        source.fill(name, into)
        np.testing.assert_array_equal(into.array, cast(source.read(name), "bfloat16").array)


def test_reading_takes_the_stored_numbers_the_result_and_a_run_of_rows(tmp_path: Path) -> None:
    source = in_dtype(large(tmp_path, rows=256), "bfloat16")
    tracemalloc.start()
    try:
        found = source.read("layer.weight")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    widened = found.num_bytes
    assert peak <= found.num_bytes + widened + 24 * RUN_NUMBERS


def test_a_tensor_that_two_dtypes_take_stays_wide(tmp_path: Path) -> None:
    source = large(tmp_path, rows=1)
    shape, take = source.shape("layer.weight"), Take("layer.weight")
    both = [WeightDef("a", shape, "bfloat16", take), WeightDef("b", shape, "float16", take)]
    assert delivered(source, both).dtype("layer.weight") == "float32"


def test_a_made_tensor_comes_from_the_file_of_its_parts(tmp_path: Path) -> None:
    assert large(tmp_path, rows=1).file_of("layer.weight") == tmp_path / "model.safetensors"


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_an_unknown_scheme_is_refused_by_name_with_what_is_known(key: str, tmp_path: Path) -> None:
    said = {"architectures": ["LlamaForCausalLM"], key: {"quant_method": "aqlm"}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"quantised as 'aqlm' are not built; known: .*gptq"):
        find(str(tmp_path))


def test_a_plain_checkpoint_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    found = find(str(tmp_path))
    assert not isinstance(found.source, Dequantised)
    assert found.quantised == ""
