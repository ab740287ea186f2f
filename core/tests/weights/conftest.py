"""Files to read: tiny ones, made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest

Arrays = Mapping[str, npt.NDArray[np.float32]]
WriteGGUF = Callable[..., Path]


@pytest.fixture
def write_gguf(tmp_path: Path) -> WriteGGUF:
    """Give a writer of tiny llama files: two heads of four, one of keys, eight columns."""

    def write(
        name: str = "tiny.gguf",
        *,
        architecture: str = "llama",
        tensors: Arrays | None = None,
        kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
        theta: float = 10000.0,
        numbers: Mapping[str, int] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_block_count(1)
        writer.add_context_length(64)
        writer.add_embedding_length(8)
        writer.add_feed_forward_length(16)
        writer.add_head_count(2)
        writer.add_head_count_kv(1)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(theta)
        writer.add_token_list(["a", "é", "Ġb"])
        for key, number in (numbers or {}).items():
            writer.add_uint32(key, number)
        for key, text in (texts or {}).items():
            writer.add_string(key, text)
        if tensors is None:
            tensors = {"token_embd.weight": np.arange(24, dtype=np.float32).reshape(3, 8)}
        for tensor_name, values in tensors.items():
            if kind == gguf.GGMLQuantizationType.F32:
                writer.add_tensor(tensor_name, values)
            else:
                writer.add_tensor(tensor_name, gguf.quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write
