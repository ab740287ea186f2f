"""The checkpoints of a toy, in each form, written byte by byte so that they can be written wrong.

Knows nothing of what is done to them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo.weights.rules import gguf_rule
from octavo_platforms.recipes import taken
from octavo_platforms.tensor import Array

CONFIG: Mapping[str, object] = MappingProxyType(
    {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 101,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
    }
)
INDEX: Final = "model.safetensors.index.json"
SHARDS: Final = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SINGLE: Final = "model.safetensors"
GGUF: Final = "model.gguf"

_KINDS: Mapping[str, str] = MappingProxyType({"float32": "F32", "int32": "I32"})


def tensors() -> dict[str, Array]:
    """Make the toy's tensors."""
    source = RandomWeights(llama.program(llama.spec()))
    return {name: source.read(name).array.astype(np.float32) for name in source.names()}


def header_of(arrays: Mapping[str, Array]) -> dict[str, object]:
    """Describe tensors as the header of a safetensors file does."""
    header: dict[str, object] = {}
    at = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _KINDS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    return header


def write_file(path: Path, arrays: Mapping[str, Array], header: str | None = None) -> None:
    """Write a safetensors file, with another header where one is given."""
    text = (json.dumps(header_of(arrays)) if header is None else header).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_single(folder: Path, arrays: Mapping[str, Array], header: str | None = None) -> None:
    """Write a checkpoint of one file."""
    write_config(folder)
    write_file(folder / SINGLE, arrays, header)


def write_shards(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Write a checkpoint of two shards and their index."""
    write_config(folder)
    names = list(arrays)
    half = len(names) // 2
    shares = dict(zip(SHARDS, (names[:half], names[half:]), strict=True))
    for shard, share in shares.items():
        write_file(folder / shard, {name: arrays[name] for name in share})
    shard_of = {name: shard for shard, share in shares.items() for name in share}
    write_index(folder, shard_of)


def write_index(folder: Path, shard_of: Mapping[str, str]) -> None:
    """Write which shard holds which tensor."""
    (folder / INDEX).write_text(json.dumps({"weight_map": dict(shard_of)}), encoding="utf-8")


def write_config(folder: Path, **other: object) -> None:
    """Write the config, with other values for some keys."""
    (folder / "config.json").write_text(json.dumps({**CONFIG, **other}), encoding="utf-8")


def write_gguf(
    folder: Path,
    arrays: Mapping[str, Array],
    *,
    architecture: str = "llama",
    numbers: Mapping[str, int] | None = None,
) -> Path:
    """Write the toy as a GGUF file; rows of queries and keys stay in the order of the toy."""
    import gguf

    writer = gguf.GGUFWriter(folder / GGUF, architecture)
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(48)
    writer.add_feed_forward_length(64)
    writer.add_head_count(6)
    writer.add_head_count_kv(2)
    writer.add_key_length(8)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, number in (numbers or {}).items():
        writer.add_uint32(key, number)
    rule = gguf_rule("llama", CONFIG, ())
    for name, values in arrays.items():
        writer.add_tensor(next(taken(rule(name))), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / GGUF
