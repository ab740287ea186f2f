"""Checkpoints that AutoRound writes, in the two forms that it packs like.

Its rounding is to the nearest: what it learns with more time stands in the same form. The one like
GPTQ it reads with layers of its own, the one like AWQ with GPTQModel's. Knows nothing of how its
files are read here.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from auto_round import AutoRound
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from .by_gptqmodel import plain_of
from .sources import Plain

IS_SYMMETRIC = {"auto_round:auto_gptq": True, "auto_round:auto_awq": False}


def write(form: str, source: Path, into: Path, size: int) -> Plain:
    """Round with groups of a size, and pack; give the weights by the layers that it reads with."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    at = str(source / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=at)  # type: ignore[no-untyped-call]
    quantiser = AutoRound(
        model,
        tokenizer,
        scheme="W4A16",
        group_size=size,
        sym=IS_SYMMETRIC[form],
        iters=0,
        disable_opt_rtn=True,
        device_map="cpu",
    )
    with tempfile.TemporaryDirectory() as at:
        quantiser.quantize_and_save(at, format=form)
        (folder,) = {each.parent for each in Path(at).rglob("config.json")}
        shutil.copytree(folder, into)
    again = AutoModelForCausalLM.from_pretrained(into, device_map="cpu", dtype=torch.float32)
    layers = [(stem, each) for stem, each in again.named_modules() if _is_one(each)]
    if form.endswith("awq"):
        return {f"{stem}.weight": plain_of(each) for stem, each in layers}
    stored = load_file(source / "model.safetensors")
    inputs = {stem: stored[f"{stem}.weight"].shape[1] for stem, _ in layers}
    return {f"{stem}.weight": _multiplied(each, inputs[stem]) for stem, each in layers}


def _is_one(module: torch.nn.Module) -> bool:
    return hasattr(module, "qweight")


def _multiplied(layer: torch.nn.Module, num_inputs: int) -> torch.Tensor:
    """Have a layer multiply each input by itself, which it does in the inputs' dtype."""
    with torch.no_grad():
        made: torch.Tensor = layer(torch.eye(num_inputs))
    return made.T.float().contiguous()
