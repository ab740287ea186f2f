"""The ways in which a checkpoint can be broken, and a pattern of what is said of each.

A case breaks the whole checkpoint of a toy that it finds in a folder (two shards, an index and a
config), or writes another one there. Knows nothing of who loads it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from octavo.testing.broken import files
from octavo.testing.broken.files import INDEX, SHARDS, SINGLE, tensors
from octavo_platforms.tensor import Array

NORM: Final = "model.norm.weight"
DOWN: Final = "model.layers.1.mlp.down_proj.weight"
_ERROR_PAGE: Final = b"<!DOCTYPE html><html><body>404: not found</body></html>"

Breaks = Callable[[Path], None]
Change = Callable[[dict[str, Array]], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One way of being broken: in words, how it comes to be, and a pattern of the message."""

    what: str
    breaks: Breaks
    says: str


def _bytes(name: str, change: Callable[[bytes], bytes]) -> Breaks:
    """Change the bytes of a file."""
    return lambda folder: _rewrite(folder / name, change)


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _tensors(change: Change) -> Breaks:
    """Change tensors before the shards are written."""

    def breaks(folder: Path) -> None:
        arrays = tensors()
        change(arrays)
        files.write_shards(folder, arrays)

    return breaks


def _header(change: Callable[[str], str]) -> Breaks:
    """Write one file in place of the shards, with another header."""

    def breaks(folder: Path) -> None:
        arrays = tensors()
        files.write_single(folder, arrays, change(json.dumps(files.header_of(arrays))))

    return breaks


def _gguf(change: Callable[[bytes], bytes], **numbers: int) -> Breaks:
    """Write a GGUF file in place of the folder's own, and change its bytes."""

    def breaks(folder: Path) -> None:
        _remove(folder, *SHARDS, INDEX, "config.json")
        keys = {key.replace("_", "."): number for key, number in numbers.items()}
        _rewrite(files.write_gguf(folder, tensors(), numbers=keys), change)

    return breaks


def _remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def _swap_shards(folder: Path) -> None:
    first, second = (folder / shard for shard in SHARDS)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def _one_in_both(folder: Path) -> None:
    arrays = tensors()
    files.write_shards(folder, arrays)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    ours = {name: arrays[name] for name, shard in index.items() if shard == SHARDS[1]}
    files.write_file(folder / SHARDS[1], {**ours, "model.embed_tokens.weight": arrays[NORM]})


def _index_of_another(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    files.write_index(folder, {**index, "model.layers.2.input_layernorm.weight": SHARDS[1]})


def _pickled(folder: Path) -> None:
    _remove(folder, *SHARDS, INDEX)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")


def _link_to_nothing(folder: Path) -> None:
    _remove(folder, SHARDS[0])
    (folder / SHARDS[0]).symlink_to("gone")


def _rename(old: str, new: str) -> Change:
    def change(arrays: dict[str, Array]) -> None:
        arrays[new] = arrays.pop(old)

    return change


def _remove_tensor(name: str) -> Change:
    def change(arrays: dict[str, Array]) -> None:
        del arrays[name]

    return change


def _put(name: str, make: Callable[[Array], Array]) -> Change:
    """Put another tensor in the place of one."""

    def change(arrays: dict[str, Array]) -> None:
        arrays[name] = make(arrays.get(name, np.zeros(48, np.float32)))

    return change


def _with(value: float, *index: int) -> Callable[[Array], Array]:
    def make(array: Array) -> Array:
        changed = array.copy()
        changed[index] = value
        return changed

    return make


def _twice(text: str) -> str:
    """Repeat the entry of a tensor at the end of a header."""
    entry = json.dumps(json.loads(text)[NORM])
    return f'{text[:-1]}, "{NORM}": {entry}}}'


def _offsets(shift: int) -> Callable[[str], str]:
    """Move the last tensor of a header."""

    def change(text: str) -> str:
        header = json.loads(text)
        last = max(header, key=lambda name: header[name]["data_offsets"][0])
        start, stop = header[last]["data_offsets"]
        header[last]["data_offsets"] = [start + shift, stop + shift]
        return json.dumps(header)

    return change


def _second_offset_is_zero(data: bytes) -> bytes:
    """Let a GGUF file's norm begin where its first tensor does.

    After the name stand the number of axes, the axes, the type and the offset.
    """
    at = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8 + 4
    return data[:at] + bytes(8) + data[at + 8 :]


def _other_type(data: bytes) -> bytes:
    at = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8
    return data[:at] + (99).to_bytes(4, "little") + data[at + 4 :]


def _same_name(data: bytes) -> bytes:
    return data.replace(b"blk.1.attn_norm.weight", b"blk.0.attn_norm.weight")


FOLDERS: tuple[Case, ...] = (
    Case("A shard is missing", lambda folder: _remove(folder, SHARDS[1]), "lacks the shard"),
    Case("The index is missing", lambda folder: _remove(folder, INDEX), "neither .* nor"),
    Case(
        "The index is no JSON",
        lambda folder: _rewrite(folder / INDEX, lambda data: b"oops"),
        f"{INDEX} is no JSON",
    ),
    Case(
        "The index names no tensors",
        lambda folder: _rewrite(folder / INDEX, lambda data: b"{}"),
        "has no 'weight_map'",
    ),
    Case(
        "The index is that of another revision",
        _index_of_another,
        rf"{SHARDS[1]} has no tensor 'model\.layers\.2\.input_layernorm\.weight'",
    ),
    Case("The shards have each other's names", _swap_shards, r"has no tensor .* though"),
    Case("A tensor is in two shards", _one_in_both, f"in two shards, {SHARDS[0]} and {SHARDS[1]}"),
    Case(
        "A shard is cut short, as when a download breaks off",
        _bytes(SHARDS[1], lambda data: data[:-100]),
        rf"{SHARDS[1]} is truncated: its header describes \d+ bytes, it has \d+",
    ),
    Case(
        "A shard is cut within its header",
        _bytes(SHARDS[0], lambda data: data[:40]),
        f"{SHARDS[0]} is truncated: its header alone takes",
    ),
    Case(
        "A shard is empty",
        _bytes(SHARDS[0], lambda data: b""),
        f"{SHARDS[0]} is truncated: it has 0 bytes",
    ),
    Case(
        "A shard is too long",
        _bytes(SHARDS[0], lambda data: data + bytes(4)),
        f"{SHARDS[0]} has bytes that belong to no tensor",
    ),
    Case(
        "An error page was saved in place of a shard",
        _bytes(SHARDS[0], lambda data: _ERROR_PAGE),
        f"{SHARDS[0]} is no valid safetensors file: its header claims",
    ),
    Case("A header has a tensor twice", _header(_twice), f"{SINGLE}.*names '{NORM}' twice"),
    Case("Tensors lie over each other", _header(_offsets(-4)), "overlaps the tensor before it"),
    Case("There is a hole between tensors", _header(_offsets(4)), "follows a hole"),
    Case(
        "A tensor has fewer bytes than its shape needs",
        _header(lambda text: text.replace('"F32", "shape": [48]', '"F32", "shape": [49]', 1)),
        "needs 196 bytes and has 192",
    ),
    Case(
        "A tensor is missing",
        _tensors(_remove_tensor(DOWN)),
        f"lacks 1 of 20 tensors: {DOWN}",
    ),
    Case(
        "A tensor has another name",
        _tensors(_rename(DOWN, DOWN.replace("down", "dwon"))),
        f"lacks 1 of 20 tensors: {DOWN}.*It has .*dwon_proj",
    ),
    Case(
        "A tensor is there that the model has no use for",
        _tensors(_put("model.layers.0.self_attn.q_proj.bias", lambda array: array)),
        r"1 tensors that this model would not use: model\.layers\.0\.self_attn\.q_proj\.bias",
    ),
    Case(
        "A tensor has another length",
        _tensors(_put(NORM, lambda array: array[:47])),
        rf"{SHARDS[1]} has the tensor '{NORM}' of the shape \[47\].*expects \[48\]",
    ),
    Case(
        "A projection is transposed",
        _tensors(_put(DOWN, lambda array: np.ascontiguousarray(array.T))),
        rf"'{DOWN}' of the shape \[64, 48\].*expects \[48, 64\]",
    ),
    Case(
        "The config is that of a larger model",
        lambda folder: files.write_config(folder, num_hidden_layers=3),
        r"lacks 9 of 29 tensors: model\.layers\.2",
    ),
    Case(
        "A weight is stored as integers",
        _tensors(_put(DOWN, lambda array: array.astype(np.int32))),
        f"'{DOWN}' is stored as int32, but the model expects real numbers",
    ),
    Case(
        "A norm holds one number that is none",
        _tensors(_put(NORM, _with(np.nan, 3))),
        rf"{SHARDS[1]}: tensor '{NORM}' should hold finite numbers, but has nan at \[3\]",
    ),
    Case(
        "A projection is full of NaN",
        _tensors(_put(DOWN, lambda array: np.full_like(array, np.nan))),
        rf"tensor '{DOWN}'.*nan at \[0, 0\] \(3072 of 3072",
    ),
    Case(
        "A projection holds an infinity",
        _tensors(_put(DOWN, _with(np.inf, 2, 5))),
        rf"tensor '{DOWN}'.*inf at \[2, 5\] \(1 of 3072",
    ),
    Case(
        "A shard is a link to a file that is gone",
        _link_to_nothing,
        rf"{SHARDS[0]} is a link to gone, which is not there",
    ),
    Case(
        "The config ties a head to the embedding that is another one",
        _tensors(_put("lm_head.weight", lambda array: tensors()["model.embed_tokens.weight"] + 1)),
        "'lm_head.weight', which is not 'model.embed_tokens.weight'",
    ),
    Case("The config is no JSON", _bytes("config.json", lambda data: b"oops"), "is no JSON"),
    Case(
        "The config has a word in place of a number",
        lambda folder: files.write_config(folder, hidden_size="48"),
        "'hidden_size' has to be a positive integer, not '48'",
    ),
    Case(
        "The config has a number that is none",
        lambda folder: files.write_config(folder, rms_norm_eps=float("nan")),
        "'rms_norm_eps' has to be a number, not nan",
    ),
    Case(
        "The config stretches positions in a way that is not known",
        lambda folder: files.write_config(folder, rope_scaling={"type": "ntk", "factor": 2.0}),
        "rope_type 'ntk' is not built",
    ),
    Case(
        "There are only pickled weights", _pickled, r"only pickled weights \(pytorch_model\.bin\)"
    ),
)

FILES: tuple[Case, ...] = (
    Case("A GGUF file is cut short", _gguf(lambda data: data[:-100]), "is truncated: tensor"),
    Case(
        "A GGUF file is cut within its header",
        _gguf(lambda data: data[:300]),
        "truncated: its header needs byte",
    ),
    Case(
        "A file is named .gguf and is none",
        _gguf(lambda data: b"PK\x03\x04" + data[4:]),
        "is no GGUF file: it starts with",
    ),
    Case(
        "A GGUF file was written for machines of the other byte order",
        _gguf(lambda data: data[:4] + data[7:3:-1] + data[8:]),
        "big-endian",
    ),
    Case(
        "A GGUF file has a tensor twice", _gguf(_same_name), r"tensor 'blk\.0\.attn_norm\.weight'"
    ),
    Case(
        "Tensors of a GGUF file lie over each other",
        _gguf(_second_offset_is_zero),
        "within '",
    ),
    Case("A tensor has a type that nobody knows", _gguf(_other_type), "ggml type 99"),
    Case("A GGUF file is a part of several", _gguf(bytes, split_count=3), "one of 3 parts"),
    Case(
        "A GGUF file does not say its sizes",
        _gguf(lambda data: data.replace(b"llama.block_count", b"llama.block_c0unt")),
        r"does not say llama\.block_count",
    ),
    Case(
        "A GGUF file holds an architecture that is not known",
        _gguf(lambda data: data.replace(b"llama", b"lllll")),
        "architecture 'lllll'",
    ),
)

CASES: tuple[Case, ...] = (*FOLDERS, *FILES)
