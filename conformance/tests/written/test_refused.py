"""Checkpoints that are not what their config says: each is refused, by file, tensor and reason.

Every case is a library's own checkpoint with one thing changed. What shows in the shapes alone is
read by them, whatever the config says, and is held to give the same weights.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from octavo.errors import ModelError
from octavo.weights.find import Checkpoint, find
from octavo_platforms.tensor import to_float

from .catalogue import ROWS

FIXTURES = Path(__file__).parent / "fixtures"
MODEL = "model.safetensors"
LAYER = "model.layers.0.mlp.down_proj"
EXPERTS = "model.layers.0.mlp.experts.down_proj"
STATE = f"{LAYER}.weight.quant_state.bitsandbytes__nf4"

Said = MutableMapping[str, object]
Tensors = dict[str, torch.Tensor]
Change = Callable[[Said, Tensors], None]


def says(**values: object) -> Change:
    """Have the config say something else."""
    return lambda said, tensors: said.update(values)


def lacks(*keys: str) -> Change:
    """Have the config say nothing of some keys, or the file hold no such tensors."""

    def change(said: Said, tensors: Tensors) -> None:
        for key in keys:
            said.pop(key, None)
            for name in [each for each in tensors if each.endswith(f".{key}")]:
                del tensors[name]

    return change


def holds(name: str, made: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Have one tensor be made of what it was."""

    def change(said: Said, tensors: Tensors) -> None:
        tensors[name] = made(tensors[name]).contiguous()

    return change


def swaps(one: str, other: str) -> Change:
    """Have two tensors change places."""

    def change(said: Said, tensors: Tensors) -> None:
        tensors[one], tensors[other] = tensors[other], tensors[one]

    return change


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(said: Said, tensors: Tensors) -> None:
        for each in changes:
            each(said, tensors)

    return change


def floats(stored: torch.Tensor) -> torch.Tensor:
    """Give the same as float32."""
    return stored.float()


def whole(stored: torch.Tensor) -> torch.Tensor:
    """Give the same as int32."""
    return stored.int()


def cut(stored: torch.Tensor) -> torch.Tensor:
    """Give all rows but the last."""
    return stored[:-1]


def turned(stored: torch.Tensor) -> torch.Tensor:
    """Give it with its axes turned."""
    return stored.T


def state_of_no_blocks(stored: torch.Tensor) -> torch.Tensor:
    """Write blocks of nothing into a state of bitsandbytes."""
    said = json.loads(bytes(stored.tolist()))
    return torch.tensor(list(json.dumps({**said, "blocksize": 0}).encode()), dtype=torch.uint8)


def part(name: str) -> str:
    """Name a part of the layer that is looked at."""
    return f"{LAYER}.{name}"


WRONG: Mapping[str, tuple[str, Change, str]] = MappingProxyType(
    {
        "an unknown scheme": ("gptq", says(quant_method="exl2"), "'exl2' are not built; known: "),
        "no scheme": ("gptq", lacks("quant_method"), "has no quant_method; known: auto_round"),
        "no groups": ("gptq", lacks("group_size", "g_idx"), r"scales' \[2, 64\] do not fit .*\(no"),
        "smaller groups": (
            "gptq",
            both(says(group_size=16), lacks("g_idx")),
            "'model.+down_proj.qweight' .* expected: .* a group_size of 16",
        ),
        "groups in words": ("gptq", says(group_size="32"), "'group_size' has to be .* not '32'"),
        "groups of none": ("gptq", says(group_size=0), "'group_size' has to be .* not 0"),
        "odd bits": ("gptq", says(bits=5), "the bits 5 is not built; known: 2, 3, 4, 8"),
        "bits in words": ("gptq", says(bits="four"), "the bits 'four' is not built"),
        "another order": ("gptq-desc-act", lacks("g_idx"), "comes without '.*g_idx'"),
        "the first version's zeros": (
            "gptq",
            says(checkpoint_format="gptq_v2", format="gptq_v2"),
            "'gptq_v2' the zeros '.*qzeros' are 7, but a symmetric layer's are 8",
        ),
        "zeros for scales": (
            "gptq",
            swaps(part("qzeros"), part("scales")),
            "down_proj.qzeros' is stored as float16, but GPTQ expects int32",
        ),
        "zeros as floats": (
            "gptq",
            holds(part("qzeros"), floats),
            "down_proj.qzeros' is stored as float32, but GPTQ expects int32",
        ),
        "wide words": (
            "gptq",
            holds(part("qweight"), torch.Tensor.long),
            "down_proj.qweight' is stored as int64, but GPTQ expects int32",
        ),
        "whole scales": (
            "gptq",
            holds(part("scales"), whole),
            "down_proj.scales' is stored as int32, but GPTQ expects float16",
        ),
        "turned scales": (
            "gptq",
            holds(part("scales"), turned),
            r"scales' \[64, 2\].* do not fit together as GPTQ; expected: .*\[G, N\]",
        ),
        "groups as floats": (
            "gptq-desc-act",
            holds(part("g_idx"), floats),
            "g_idx' is stored as float32, but GPTQ expects",
        ),
        "GPTQ for AWQ": (
            "awq",
            says(quant_method="gptq", checkpoint_format="gptq"),
            "do not fit together as GPTQ",
        ),
        "AWQ of three bits": ("awq", says(bits=3), "the bits 3 is not built; known: 4"),
        "AWQ in another form": ("awq", says(format="gemv"), "the format 'gemv' is not built"),
        "AWQ without zeros": ("awq", lacks("qzeros"), "comes without '.*qzeros'"),
        "AWQ's zeros as floats": (
            "awq",
            holds(part("qzeros"), floats),
            "qzeros' is stored as float32, but AWQ expects int32",
        ),
        "larger blocks": (
            "fp8-blocks",
            says(weight_block_size=[64, 64]),
            r"weight_scale_inv' \[2, 2\] do not fit .* block of 64 x 64",
        ),
        "blocks of one side": (
            "fp8-blocks",
            says(weight_block_size=[32]),
            r"'weight_block_size' has to be two positive integers, .* not \[32\]",
        ),
        "fp8 without scales": (
            "fp8-blocks",
            lacks("weight_scale_inv"),
            "is stored as F8_E4M3, .*'model.+weight_scale_inv' or '.*_scale' is expected",
        ),
        "fp8 with whole scales": (
            "fp8-blocks",
            holds(part("weight_scale_inv"), whole),
            "weight_scale_inv' is stored as int32, but",
        ),
        "HQQ of five bits": (
            "hqq-4-bits-axis-1",
            holds(part("nbits"), lambda stored: torch.full_like(stored, 5)),
            "W_q' holds codes of 5 bits",
        ),
        "HQQ of no bits": (
            "hqq-4-bits-axis-1",
            holds(part("nbits"), lambda stored: stored.reshape(-1)[:0]),
            r"nbits' \[0\].* do not fit together as HQQ",
        ),
        "HQQ's zeros as integers": (
            "hqq-4-bits-axis-1",
            holds(part("zero"), whole),
            "zero' is stored as int32, but HQQ expects",
        ),
        "a shape of three": (
            "compressed-w4a16",
            holds(part("weight_shape"), lambda stored: torch.cat([stored, stored])[:3]),
            r"weight_shape' \[3\] do not fit .*; expected: two numbers",
        ),
        "another shape": (
            "compressed-w4a16",
            holds(part("weight_shape"), lambda stored: stored * 2),
            "expected: .* of 128 outputs and 128 inputs",
        ),
        "a scale for all groups": (
            "compressed-w4a16",
            holds(part("weight_scale"), lambda stored: stored[:, :1]),
            r"weight_scale' \[64, 1\].* of 64 outputs and 64 inputs in groups of 32",
        ),
        "a power of two for all groups": (
            "compressed-mxfp4",
            holds(part("weight_scale"), lambda stored: stored[:, :1]),
            r"weight_scale' \[64, 1\].* a scale for each 16 bytes or 24 bytes of a row",
        ),
        "zeros that were cut": (
            "compressed-w4a16_asym",
            holds(part("weight_zero_point"), cut),
            r"weight_zero_point' \[7, 2\].* expected: zeros of the shape \[8, 2\]",
        ),
        "int8 without scales": (
            "compressed-w8a8",
            lacks("weight_scale"),
            "is stored as I8, which needs scales",
        ),
        "nvfp4 without the tensor's scale": (
            "compressed-nvfp4",
            lacks("weight_global_scale"),
            "comes without '.*weight_global_scale'",
        ),
        "an unknown packing": (
            "compressed-w4a16",
            says(format="marlin-24"),
            "the format 'marlin-24' is not built; known: dense",
        ),
        "codes as floats": (
            "bitsandbytes-nf4",
            holds(part("weight"), floats),
            "down_proj.weight' is stored as float32, but bitsandbytes expects uint8",
        ),
        "a table that was cut": (
            "bitsandbytes-nf4",
            holds(part("weight.quant_map"), cut),
            r"quant_map' \[15\] do not fit .* expected: 2048 bytes, and 64, 16 numbers",
        ),
        "blocks of nothing": (
            "bitsandbytes-nf4",
            holds(STATE, state_of_no_blocks),
            "is expected to hold a shape and a blocksize above zero",
        ),
        "nf4 without its state": (
            "bitsandbytes-nf4",
            lacks("weight.quant_state.bitsandbytes__nf4"),
            "comes without '.*quant_state",
        ),
        "int8 of bitsandbytes without scales": (
            "bitsandbytes-int8",
            lacks("SCB"),
            "comes without '.*SCB'",
        ),
        "an unknown algorithm": (
            "modelopt-nvfp4",
            says(quant_algo="W4A8_AWQ"),
            "the quant_algo 'W4A8_AWQ' is not built; known: FP8",
        ),
        "mxfp4 with scales as floats": (
            "gpt-oss-mxfp4",
            holds(f"{EXPERTS}_scales", floats),
            "down_proj_scales' is stored as float32, but mxfp4 expects uint8",
        ),
    }
)
DAMAGE: Sequence[Callable[[torch.Tensor], torch.Tensor]] = (
    lambda stored: stored.reshape(-1)[0].clone(),
    lambda stored: stored.reshape(-1),
    lambda stored: stored[None],
    lambda stored: stored[..., :-1] if stored.ndim else stored.reshape(1)[:0],
    lambda stored: stored[:0] if stored.ndim else stored.repeat(2),
    lambda stored: torch.cat([stored, stored]) if stored.ndim else stored.repeat(3),
    lambda stored: torch.full(stored.shape, 10**9, dtype=torch.int32),
    lambda stored: torch.ones(stored.shape, dtype=torch.bool),
    lambda stored: torch.ones(stored.shape),
)
READ_BY_SHAPES: Mapping[str, tuple[str, Change]] = MappingProxyType(
    {
        "GPTQ of other bits": ("gptq", says(bits=3)),
        "GPTQ without bits": ("gptq", lacks("bits")),
        "GPTQ's version by its younger name": ("gptq-v2", lacks("checkpoint_format")),
        "AWQ of larger groups": ("awq", says(group_size=64)),
        "AWQ without a group size": ("awq", lacks("group_size")),
    }
)


def changed(name: str, change: Change, into: Path) -> Checkpoint:
    """Copy a fixture with something changed, and find it."""
    shutil.copytree(FIXTURES / name, into)
    config = json.loads((into / "config.json").read_text())
    tensors = load_file(into / MODEL)
    change(config["quantization_config"], tensors)
    (into / "config.json").write_text(json.dumps(config))
    save_file(tensors, into / MODEL)
    return find(str(into))


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_not_as_its_config_says_is_refused_with_what_is_expected(
    case: str, tmp_path: Path
) -> None:
    name, change, reason = WRONG[case]

    def read_all() -> None:
        source = changed(name, change, tmp_path / "changed").source
        for each in source.names():
            source.read(each)

    with pytest.raises(ModelError, match=reason) as caught:
        read_all()
    assert MODEL in str(caught.value) or "config.json" in str(caught.value)


@pytest.mark.parametrize("case", list(READ_BY_SHAPES))
def test_what_shows_in_the_shapes_is_read_by_them(case: str, tmp_path: Path) -> None:
    name, change = READ_BY_SHAPES[case]
    found, exact = changed(name, change, tmp_path / "changed").source, find(str(FIXTURES / name))
    for each in exact.source.names():
        np.testing.assert_array_equal(
            to_float(found.read(each)), to_float(exact.source.read(each)), err_msg=each
        )


@pytest.mark.parametrize("name", list(ROWS))
def test_a_damaged_part_is_refused_or_read_and_nothing_else_is_raised(
    name: str, tmp_path: Path
) -> None:
    shutil.copyfile(FIXTURES / name / "config.json", tmp_path / "config.json")
    stored = load_file(FIXTURES / name / MODEL)
    layer = {each: stored[each] for each in stored if each.startswith((LAYER, EXPERTS))}
    num_refused = 0
    for part_name, damage in itertools.product(layer, DAMAGE):
        save_file({**layer, part_name: damage(layer[part_name]).contiguous()}, tmp_path / MODEL)
        try:
            source = find(str(tmp_path)).source
            for each in source.names():
                source.read(each)
        except ModelError:
            num_refused += 1
    assert num_refused >= 2


def test_a_config_that_names_its_scheme_without_an_object_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "gptq", tmp_path / "changed")
    at = tmp_path / "changed" / "config.json"
    at.write_text(json.dumps({**json.loads(at.read_text()), "quantization_config": "gptq"}))
    with pytest.raises(ModelError, match="'quantization_config' has to be an object, not 'gptq'"):
        find(str(tmp_path / "changed"))
