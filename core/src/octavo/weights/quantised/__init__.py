"""Quantised checkpoints by reference: the life of a weight that is stored in few bits.

    config.json ─quantization_config─> scheme ─headers─> what is made of what ─read─> plain rows

A published scheme is a small file here: it looks at names and shapes, says which plain tensors a
checkpoint holds in its own, and makes rows of one when it is read. Above this room nobody knows
that a checkpoint is quantised: every model and every device runs it, at the cost in memory of
plain weights. What a scheme says of activations is not applied, and is told.

To test a scheme: pack known numbers by hand, as its source says, and read them back.

Knows nothing of kernels that would read codes as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from octavo.errors import ModelError
from octavo.models.reading import mapping
from octavo.weights.lowered import FileSource
from octavo.weights.quantised import awq, bnb, compressed, fours, gptq, hqq, scaled
from octavo.weights.quantised.scheme import Build, Config, Scheme
from octavo.weights.quantised.source import Dequantised, delivered

__all__ = ["KNOWN", "METHODS", "delivered", "dequantised", "words_of"]

KNOWN: Mapping[str, Build] = MappingProxyType(
    {
        "gptq": gptq.build,
        "awq": awq.build,
        "fp8": scaled.build,
        "fbgemm_fp8": scaled.build,
        "w8a8_fp8": scaled.build,
        "w8a8_int8": scaled.build,
        "compressed-tensors": compressed.build,
        "mxfp4": fours.build_mxfp4,
        "modelopt": fours.build_modelopt,
        "bitsandbytes": bnb.build,
        "hqq": hqq.build,
    }
)
"""How each scheme is found, by its name as `quant_method`."""

# The same form under another name, and auto-round's two by what it packs like.
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "gptq_marlin": "gptq",
        "awq_marlin": "awq",
        "compressed_tensors": "compressed-tensors",
        "modelopt_fp4": "modelopt",
        "gpt_oss_mxfp4": "mxfp4",
        "auto_round:auto_gptq": "gptq",
        "auto_round:auto_awq": "awq",
    }
)
METHODS: tuple[str, ...] = tuple(sorted([*KNOWN, *_ALIASES]))
"""All that a checkpoint may say of itself as `quant_method`, or of how it is packed."""

# Tensors about activations and the KV cache, which nobody reads where both stay as they are.
_NOT_APPLIED = (
    ".input_scale",
    ".input_zero_point",
    ".input_global_scale",
    ".activation_scale",
    ".output_scale",
    ".k_scale",
    ".v_scale",
    ".q_scale",
    ".prob_scale",
)


def dequantised(source: FileSource, config: Config) -> tuple[FileSource, str]:
    """See a checkpoint through its scheme, with words about it; empty where it has none.

    `config` is that of the model.

    Raises: ModelError, for a scheme that is not known, and for tensors that do not fit it.
    """
    said = _said(config)
    if said is None:
        return source, ""
    found = KNOWN[_method(said)](source, said)
    hidden = frozenset(name for name in source.names() if name.endswith(_NOT_APPLIED))
    if not found.tensors and not hidden:
        return source, ""
    return Dequantised(source, found.tensors, hidden), words_of(found, said, len(hidden))


def words_of(found: Scheme, said: Config, num_hidden: int) -> str:
    """Say what a checkpoint holds and what becomes of it."""
    words = f"{found.words}; {len(found.tensors)} weights made plain when placed (by reference)"
    scheme = said.get("activation_scheme")
    if scheme is not None:
        words += f"; {scheme} rounding of activations is not applied"
    if num_hidden:
        words += f"; {num_hidden} scales of activations or cache are not applied"
    return words


def _said(config: Config) -> Config | None:
    for at in (config, mapping(config, "text_config") or {}):
        for key in ("quantization_config", "compression_config"):
            if found := mapping(at, key):
                return found
    return None


def _known() -> str:
    return (
        f"known: {', '.join(METHODS)}. Use a checkpoint in one of these, or the one that it was "
        "made from."
    )


def _method(said: Config) -> str:
    given = said.get("quant_method")
    if given is None and "config_groups" in said:
        given = "compressed-tensors"
    if str(given).endswith("auto-round"):
        given = said.get("packing_format", "auto_round:auto_gptq")
    name = _ALIASES.get(str(given), str(given))
    if given is None:
        raise ModelError(f"config.json: its quantization_config has no quant_method; {_known()}")
    if name not in KNOWN:
        raise ModelError(
            f"config.json: checkpoints quantised as '{given}' are not built; {_known()}"
        )
    return name
