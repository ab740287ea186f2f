"""Safetensors folders, against files that the format's own library wrote, and broken ones."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from octavo.errors import ModelError
from octavo.weights.safetensors import SafetensorsSource
from octavo_platforms.tensor import DType, HostTensor, cast, host, storage, to_float

MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)


def write_raw(
    path: Path, header: Mapping[str, object] | bytes, data: bytes = b"", pad: int = 0
) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode() + b" " * pad
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(kind: str, shape: list[int], start: int, stop: int) -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_tensor_is_read_as_the_library_wrote_it(tmp_path: Path, dtype: str) -> None:
    written = MATRIX.astype(dtype)
    save_file({"x": written, "y": written[0]}, tmp_path / "model.safetensors")
    source = SafetensorsSource(tmp_path)
    assert set(source.names()) == {"x", "y"}
    assert source.shape("x") == (3, 4)
    assert source.dtype("x") == dtype
    np.testing.assert_array_equal(source.read("x").array, written)
    np.testing.assert_array_equal(source.read("y").array, written[0])


@pytest.mark.parametrize("into_dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_tensor_is_read_into_an_array_as_it_would_be_cast(
    tmp_path: Path, dtype: str, into_dtype: DType
) -> None:
    save_file({"x": MATRIX.astype(dtype) / 3, "y": MATRIX[:0]}, tmp_path / "model.safetensors")
    source = SafetensorsSource(tmp_path)
    wide = HostTensor(np.empty((3, 8), storage(into_dtype)), into_dtype)
    for array in (np.empty((3, 4), storage(into_dtype)), wide.array[:, ::2]):
        source.fill("x", HostTensor(array, into_dtype))
        assert array.tobytes() == cast(source.read("x"), into_dtype).array.tobytes()
    source.fill("y", HostTensor(np.empty((0, 4), storage(into_dtype)), into_dtype))


def test_file_cut_short_while_it_is_read_is_an_error_with_the_number_of_bytes(
    tmp_path: Path,
) -> None:
    save_file({"x": MATRIX}, tmp_path / "model.safetensors")
    source = SafetensorsSource(tmp_path)
    os.truncate(tmp_path / "model.safetensors", (tmp_path / "model.safetensors").stat().st_size - 8)
    with pytest.raises(ModelError, match="was cut short while it was read: 8 bytes are missing"):
        source.fill("x", host(np.empty((3, 4), np.float32)))


def test_bfloat16_arrives_as_its_bits(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000], dtype=np.uint16)
    write_raw(tmp_path / "model.safetensors", {"x": entry("BF16", [2], 0, 4)}, bits.tobytes())
    read = SafetensorsSource(tmp_path).read("x")
    assert read.dtype == "bfloat16"
    np.testing.assert_array_equal(read.array, bits)


def test_tensor_is_a_read_only_view_of_the_file(tmp_path: Path) -> None:
    save_file({"x": MATRIX}, tmp_path / "model.safetensors")
    array = SafetensorsSource(tmp_path).read("x").array
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize("pad", [0, 1, 2, 3])
def test_tensor_at_any_offset_is_aligned_in_memory(tmp_path: Path, pad: int) -> None:
    header = {"x": entry("F32", [3, 4], 0, 48)}
    write_raw(tmp_path / "model.safetensors", header, MATRIX.tobytes(), pad)
    array = SafetensorsSource(tmp_path).read("x").array
    assert array.flags.aligned
    np.testing.assert_array_equal(array, MATRIX)


def test_tensor_without_elements_is_read(tmp_path: Path) -> None:
    save_file({"x": MATRIX[:0], "y": MATRIX}, tmp_path / "model.safetensors")
    assert SafetensorsSource(tmp_path).read("x").shape == (0, 4)


def test_source_outlives_the_replacement_of_its_file(tmp_path: Path) -> None:
    save_file({"x": MATRIX}, tmp_path / "model.safetensors")
    source = SafetensorsSource(tmp_path)
    save_file({"x": MATRIX * 0}, tmp_path / "other")
    (tmp_path / "other").replace(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(source.read("x").array, MATRIX)


def write_shards(folder: Path, weight_map: Mapping[str, str]) -> None:
    save_file({"x": MATRIX}, folder / "one.safetensors")
    save_file({"y": MATRIX + 1}, folder / "two.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_as_one_checkpoint(tmp_path: Path) -> None:
    write_shards(tmp_path, {"x": "one.safetensors", "y": "two.safetensors"})
    source = SafetensorsSource(tmp_path)
    np.testing.assert_array_equal(source.read("x").array, MATRIX)
    np.testing.assert_array_equal(source.read("y").array, MATRIX + 1)
    assert source.file_of("y") == tmp_path / "two.safetensors"


def test_tensor_that_the_index_leaves_out_is_there_all_the_same(tmp_path: Path) -> None:
    save_file({"x": MATRIX, "z": MATRIX}, tmp_path / "one.safetensors")
    index = {"weight_map": {"x": "one.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert set(SafetensorsSource(tmp_path).names()) == {"x", "z"}


@pytest.mark.parametrize(
    ("weight_map", "fact"),
    [
        ({"x": "one.safetensors", "z": "three.safetensors"}, "lacks the shard three.safetensors"),
        ({"x": "two.safetensors"}, "has no tensor 'x'"),
        ({"x": "../one.safetensors"}, "outside of its folder"),
    ],
)
def test_index_that_does_not_fit_its_shards_is_refused(
    tmp_path: Path, weight_map: Mapping[str, str], fact: str
) -> None:
    write_shards(tmp_path, weight_map)
    with pytest.raises(ModelError, match=fact):
        SafetensorsSource(tmp_path)


def test_truncated_file_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": MATRIX}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match=f"{len(whole)} bytes, it has {len(whole) - 1}"):
        SafetensorsSource(tmp_path)


@pytest.mark.parametrize("num_bytes", [0, 7, 8, 40])
def test_file_cut_within_its_header_is_refused(tmp_path: Path, num_bytes: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": MATRIX}, path)
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(ModelError, match="truncated"):
        SafetensorsSource(tmp_path)


@pytest.mark.parametrize(
    ("header", "fact"),
    [
        (b"{oops", "no JSON"),
        (b"[]", "no JSON object"),
        ({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, "'y' overlaps"),
        ({"x": entry("F32", [2], 0, 8), "y": entry("F32", [1], 12, 16)}, "'y' follows a hole"),
        ({"x": entry("F32", [3], 0, 8)}, "needs 12 bytes and has 8"),
        ({"x": entry("F32", [-2], 0, 8)}, "has shape"),
        ({"x": {"dtype": "F32"}}, "lacks dtype, shape or data_offsets"),
    ],
)
def test_header_that_contradicts_itself_is_refused(
    tmp_path: Path, header: Mapping[str, object] | bytes, fact: str
) -> None:
    write_raw(tmp_path / "model.safetensors", header, bytes(16))
    with pytest.raises(ModelError, match=fact):
        SafetensorsSource(tmp_path)


def test_bytes_that_belong_to_no_tensor_are_refused(tmp_path: Path) -> None:
    write_raw(tmp_path / "model.safetensors", {"x": entry("F32", [2], 0, 8)}, bytes(9))
    with pytest.raises(ModelError, match="belong to no tensor"):
        SafetensorsSource(tmp_path)


def test_dtype_without_meaning_here_is_refused_when_it_is_read(tmp_path: Path) -> None:
    header = {"x": entry("F6_E2M3", [8], 0, 6)}
    write_raw(tmp_path / "model.safetensors", header, bytes(6))
    source = SafetensorsSource(tmp_path)
    with pytest.raises(ModelError, match="'x' is stored as F6_E2M3"):
        source.read("x")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"), ("F8_E8M0", "float8_e8m0fnu")],
)
def test_floats_of_eight_bits_are_widened_to_the_same_numbers(
    tmp_path: Path, kind: str, name: str
) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_raw(tmp_path / "model.safetensors", {"x": entry(kind, [16, 16], 0, 256)}, codes.tobytes())
    source = SafetensorsSource(tmp_path)
    read = source.read("x")
    assert source.dtype("x") == read.dtype == "bfloat16"
    expected = codes.view(getattr(ml_dtypes, name)).astype(np.float32)
    np.testing.assert_array_equal(to_float(read), expected)


def test_integers_of_16_bits_become_32_wide(tmp_path: Path) -> None:
    written = np.array([[-(2**15), -1], [0, 2**15 - 1]], np.int16)
    save_file({"x": written}, tmp_path / "model.safetensors")
    source = SafetensorsSource(tmp_path)
    assert source.dtype("x") == source.read("x").dtype == "int32"
    np.testing.assert_array_equal(source.read("x").array, written)


def test_unknown_tensor_is_refused_with_the_names_near_it(tmp_path: Path) -> None:
    save_file({"model.norm.weight": MATRIX[0]}, tmp_path / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"no tensor 'model.norm.bias'.*Near it: model.norm.weight"
    ):
        SafetensorsSource(tmp_path).read("model.norm.bias")


def test_pickled_weights_are_refused_with_the_safe_way(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"pytorch_model\.bin.*save_pretrained\(folder\), which writes safetensors"
    ):
        SafetensorsSource(tmp_path)


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor"):
        SafetensorsSource(tmp_path)
