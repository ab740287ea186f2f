"""Every checkpoint that a scheme's own library writes here, by name.

A row names the library, so that whoever lacks it knows; its code is imported when it is asked for.
Knows nothing of how the files are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .sources import Plain, tiny, tiny_experts

Texts = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be quantised, where to, on which token ids; small models get small groups."""

    source: Path
    into: Path
    texts: Texts
    is_small: bool

    @property
    def group_size(self) -> int:
        """Give how many numbers share a scale."""
        return 32 if self.is_small else 64


@dataclass(frozen=True, slots=True)
class Row:
    """A checkpoint: the scheme, the libraries by distribution, and what writes it.

    `tiny` makes the small model that it is tried on. A real one is calibrated on as many texts,
    each of as many tokens, as `texts` says; who calibrates nothing reads none.
    """

    scheme: str
    libraries: tuple[str, ...]
    write: Callable[[Asked], Plain]
    tiny: Callable[[Path], Path] = tiny
    texts: tuple[int, int] = (8, 256)


def _gptqmodel(name: str) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_gptqmodel

        return by_gptqmodel.write(name, asked.source, asked.into, asked.texts, asked.group_size)

    return write


def _autoround(form: str) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_autoround

        return by_autoround.write(form, asked.source, asked.into, asked.group_size)

    return write


def _compressed(preset: str) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_compressed

        return by_compressed.write(preset, asked.source, asked.into, is_small=asked.is_small)

    return write


def _bitsandbytes(name: str) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_bitsandbytes

        return by_bitsandbytes.write(name, asked.source, asked.into)

    return write


def _hqq(bits: int, axis: int) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_hqq

        return by_hqq.write(bits, axis, asked.source, asked.into, asked.group_size)

    return write


def _fp8(*, block: int | None, has_powers: bool = False) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_transformers

        return by_transformers.write(asked.source, asked.into, block=block, has_powers=has_powers)

    return write


def _modelopt(name: str) -> Callable[[Asked], Plain]:
    def write(asked: Asked) -> Plain:
        from . import by_modelopt

        by = {"FP8": by_modelopt.write_fp8, "mxfp4": by_modelopt.write_mxfp4}
        if name in by:
            return by[name](asked.source, asked.into)
        return by_modelopt.write_packed(name, asked.source, asked.into)

    return write


def _rows() -> dict[str, Row]:
    gptq, packed = ("gptqmodel",), ("compressed-tensors",)
    bnb, modelopt = ("bitsandbytes", "transformers"), ("nvidia-modelopt",)
    found = {
        "gptq": Row("GPTQ, 4 bits, symmetric", gptq, _gptqmodel("gptq")),
        "gptq-asym": Row("GPTQ, 4 bits, asymmetric", gptq, _gptqmodel("gptq-asym")),
        "gptq-desc-act": Row(
            "GPTQ, 4 bits, asymmetric, desc_act", gptq, _gptqmodel("gptq-desc-act")
        ),
        "gptq-v2": Row("GPTQ, 4 bits, format gptq_v2", gptq, _gptqmodel("gptq-v2")),
        "gptq-8-bits": Row("GPTQ, 8 bits", gptq, _gptqmodel("gptq-8-bits")),
        "gptq-3-bits": Row("GPTQ, 3 bits", gptq, _gptqmodel("gptq-3-bits")),
        "gptq-2-bits": Row("GPTQ, 2 bits", gptq, _gptqmodel("gptq-2-bits")),
        # Its search over scales takes as many times a text as it tries.
        "awq": Row("AWQ, 4 bits, gemm", gptq, _gptqmodel("awq"), texts=(2, 64)),
        "auto-round": Row(
            "AutoRound, 4 bits, symmetric", ("auto-round",), _autoround("auto_round:auto_gptq")
        ),
        "auto-round-awq": Row(
            "AutoRound, 4 bits, asymmetric",
            ("auto-round", "gptqmodel"),
            _autoround("auto_round:auto_awq"),
        ),
        "fp8-blocks": Row("fp8 in blocks", ("transformers",), _fp8(block=32)),
        "fp8-powers": Row(
            "fp8 in blocks, scales ue8m0", ("transformers",), _fp8(block=32, has_powers=True)
        ),
        "fp8-tensor": Row("fp8, a scale for the tensor", ("transformers",), _fp8(block=None)),
        "modelopt-fp8": Row("ModelOpt FP8", modelopt, _modelopt("FP8")),
        "modelopt-nvfp4": Row("ModelOpt NVFP4", modelopt, _modelopt("NVFP4")),
        "modelopt-mxfp8": Row("ModelOpt MXFP8", modelopt, _modelopt("MXFP8")),
        "modelopt-mixed": Row(
            "ModelOpt, MXFP8 and NVFP4 mixed", modelopt, _modelopt("MIXED_PRECISION")
        ),
        "gpt-oss-mxfp4": Row(
            "mxfp4 of GPT-OSS", (*modelopt, "transformers"), _modelopt("mxfp4"), tiny_experts
        ),
    }
    for kind in ("nf4", "nf4-nested", "fp4", "int8"):
        found[f"bitsandbytes-{kind}"] = Row(f"bitsandbytes {kind}", bnb, _bitsandbytes(kind))
    for bits, axis in ((8, 1), (4, 1), (4, 0), (3, 1), (2, 1), (1, 1)):
        words = f"HQQ, {bits} bits, axis {axis}"
        found[f"hqq-{bits}-bits-axis-{axis}"] = Row(words, ("hqq",), _hqq(bits, axis))
    for preset in _PRESETS:
        words = f"compressed-tensors {preset}"
        found[f"compressed-{preset.lower()}"] = Row(words, packed, _compressed(preset))
    return found


_PRESETS = (
    *("W4A16", "W4A16_ASYM", "W3A16", "W8A16", "W8A8"),
    *("FP8", "FP8_DYNAMIC", "FP8_BLOCK", "NVFP4", "MXFP4", "MXFP6A16", "MXFP8"),
)
ROWS: Mapping[str, Row] = MappingProxyType(_rows())
"""All checkpoints, by the names of their folders."""
