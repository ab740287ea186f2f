"""GGUF files, against what the format's own library writes, reads and widens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType

from octavo.errors import ModelError
from octavo.weights.gguf import GGUFFile
from octavo_platforms.tensor import DType, HostTensor, cast, storage, to_float

WriteGGUF = Callable[..., Path]
VALUES = np.sin(np.arange(6 * 64, dtype=np.float32)).reshape(6, 64)


def test_metadata_is_read_as_the_library_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("text", "Grüße 🙂")
    writer.add_bool("yes", True)
    writer.add_int8("small", -3)
    writer.add_uint64("large", 2**40)
    writer.add_float64("real", 0.1)
    writer.add_array("integers", [1, -2, 3])
    writer.add_array("texts", ["", "a", "ü"])
    writer.add_array("nested", [[1, 2], [3]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    read = GGUFFile(path).metadata
    assert dict(read) == {
        "general.architecture": "llama",
        "text": "Grüße 🙂",
        "yes": True,
        "small": -3,
        "large": 2**40,
        "real": 0.1,
        "integers": (1, -2, 3),
        "texts": ("", "a", "ü"),
        "nested": ((1, 2), (3,)),
    }


@pytest.mark.parametrize(
    ("name", "dtype"), [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16")]
)
def test_plain_types_are_views_of_the_file(write_gguf: WriteGGUF, name: str, dtype: str) -> None:
    kind = GGMLQuantizationType[name]
    source = GGUFFile(write_gguf(tensors={"x": VALUES}, kind=kind)).source
    read = source.read("x")
    assert (source.shape("x"), source.dtype("x"), read.dtype) == ((6, 64), dtype, dtype)
    assert not read.array.flags.owndata
    expected = gguf.dequantize(gguf.quantize(VALUES, kind), kind)
    np.testing.assert_array_equal(to_float(read), expected)


@pytest.mark.parametrize("into_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q4_1", "Q8_0"])
def test_tensor_is_read_into_an_array_as_it_would_be_cast(
    write_gguf: WriteGGUF, name: str, into_dtype: DType
) -> None:
    many = np.sin(np.arange(1100 * 64, dtype=np.float32)).reshape(1100, 64)  # more than one run
    source = GGUFFile(write_gguf(tensors={"x": many}, kind=GGMLQuantizationType[name])).source
    wide = np.empty((1100, 128), storage(into_dtype))
    for array in (np.empty((1100, 64), storage(into_dtype)), wide[:, ::2]):
        source.fill("x", HostTensor(array, into_dtype))
        assert array.tobytes() == cast(source.read("x"), into_dtype).array.tobytes()


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantised_types_are_widened_to_float32(write_gguf: WriteGGUF, name: str) -> None:
    kind = GGMLQuantizationType[name]
    source = GGUFFile(write_gguf(tensors={"x": VALUES}, kind=kind)).source
    read = source.read("x")
    assert (source.kind("x"), source.dtype("x"), read.dtype) == (name, "float32", "float32")
    assert read.shape == source.shape("x") == (6, 64)
    np.testing.assert_array_equal(read.array, gguf.dequantize(gguf.quantize(VALUES, kind), kind))


@pytest.mark.parametrize("kind", list(GGMLQuantizationType), ids=lambda kind: kind.name)
def test_every_type_that_the_library_can_widen_is_read_and_any_other_refused(
    tmp_path: Path, kind: GGMLQuantizationType
) -> None:
    block, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(0).integers(0, 256, (4, 2 * num_bytes), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("x", data, raw_shape=data.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = GGUFFile(tmp_path / "x.gguf").source
    assert (source.shape("x"), source.kind("x")) == ((4, 2 * block), kind.name)
    try:
        with np.errstate(all="ignore"):  # random scales may be no numbers
            expected = gguf.dequantize(data, kind)
    except NotImplementedError:
        expected = None
    plain = {"F64": np.float64, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
    if kind.name in plain:
        stored = data.view(plain[kind.name])
        np.testing.assert_array_equal(source.read("x").array, stored)
    elif expected is None:
        with pytest.raises(ModelError, match=f"'x' is stored as {kind.name}, which cannot be"):
            source.dtype("x")
    else:
        np.testing.assert_array_equal(to_float(source.read("x")), expected)


def test_experts_of_one_tensor_are_tensors_of_their_own(write_gguf: WriteGGUF) -> None:
    stacked = np.sin(np.arange(3 * 6 * 64, dtype=np.float32)).reshape(3, 6, 64)
    kind = GGMLQuantizationType.Q8_0
    path = write_gguf(tensors={"blk.5.ffn_up_exps.weight": stacked}, kind=kind)
    source = GGUFFile(path).source
    assert list(source.names()) == [f"blk.5.ffn_up.{expert}.weight" for expert in range(3)]
    for expert in range(3):
        expected = gguf.dequantize(gguf.quantize(stacked[expert], kind), kind)
        read = source.read(f"blk.5.ffn_up.{expert}.weight")
        np.testing.assert_array_equal(read.array, expected)


def test_every_prefix_of_a_file_is_refused_as_a_model_error(write_gguf: WriteGGUF) -> None:
    path = write_gguf()
    whole = path.read_bytes()
    for num_bytes in range(0, len(whole), 7):
        path.write_bytes(whole[:num_bytes])
        with pytest.raises(ModelError, match=str(path)):
            GGUFFile(path)


def test_file_of_another_format_is_refused_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(ModelError, match=r"no GGUF file: it starts with b'PK"):
        GGUFFile(path)


@pytest.mark.parametrize(
    ("version", "fact"), [(b"\x01\0\0\0", "version 1"), (b"\0\0\0\x03", "big-endian")]
)
def test_other_version_or_byte_order_is_refused(tmp_path: Path, version: bytes, fact: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + version + bytes(16))
    with pytest.raises(ModelError, match=fact):
        GGUFFile(path)


def test_one_part_of_several_is_refused(write_gguf: WriteGGUF) -> None:
    with pytest.raises(ModelError, match=r"one of 3 parts.*--merge"):
        GGUFFile(write_gguf(numbers={"split.count": 3}))


def test_unknown_tensor_is_refused_with_the_names_near_it(write_gguf: WriteGGUF) -> None:
    with pytest.raises(ModelError, match=r"no tensor 'token_embd.bias'.*token_embd\.weight"):
        GGUFFile(write_gguf()).source.read("token_embd.bias")


def test_demo_file_reads_as_the_library_reads_it(demo_gguf: Path) -> None:
    ours, theirs = GGUFFile(demo_gguf), gguf.GGUFReader(demo_gguf)
    assert list(ours.source.names()) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors[:3]:
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours.source.read(tensor.name).array, expected)
    for key, value in ours.metadata.items():
        expected_value = theirs.fields[key].contents()
        assert (list(value) if isinstance(value, tuple) else value) == expected_value, key
