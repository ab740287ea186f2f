"""Checkpoints as their authors publish them, where transformers writes them otherwise.

    InternLM 2    a Llama, whose projections are joined by groups that share a KV head
    GPT-OSS       experts in blocks of 32 numbers: codes of four bits, and a byte for their power
    MPT           biases, which its authors' code can have, and transformers' module has none

A way to repack takes the module and the tensors as they were written, and gives those that are
stored in their place. Where that rounds, it draws codes and gives the module what they stand for.

Knows no row and no platform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from transformers import PreTrainedModel

Tensors = Mapping[str, torch.Tensor]
Repack = Callable[[PreTrainedModel, Tensors], Tensors]

INTERNLM2_NAMES = {
    "model.embed_tokens": "model.tok_embeddings",
    "lm_head": "output",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
BLOCK = 32
CODES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def as_internlm2(module: PreTrainedModel, tensors: Tensors) -> Tensors:
    """Join a Llama's projections and call its weights as InternLM 2 does."""
    config = module.config
    shared = config.num_attention_heads // config.num_key_value_heads
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if ".q_proj." in name:
            parts = [tensors[name.replace(".q_proj.", f".{each}_proj.")] for each in "qkv"]
            found[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat(
                [
                    part.reshape(config.num_key_value_heads, count, config.head_dim, -1)
                    for part, count in zip(parts, (shared, 1, 1), strict=True)
                ],
                dim=1,
            ).reshape(-1, *tensor.shape[1:])
        elif ".k_proj." not in name and ".v_proj." not in name:
            for theirs, own in INTERNLM2_NAMES.items():
                name = name.replace(theirs, own)
            found[name] = tensor
    return found


def as_mxfp4(module: PreTrainedModel, tensors: Tensors) -> Tensors:
    """Draw experts as codes, and give the module the numbers that they stand for."""
    found = dict(tensors)
    drawing = torch.Generator().manual_seed(1)
    for name in [each for each in tensors if each.endswith(("gate_up_proj", "down_proj"))]:
        plain = found.pop(name)
        experts, n_in, n_out = plain.shape
        shape = (experts, n_out, n_in // BLOCK)
        codes = torch.randint(16, (*shape, BLOCK), generator=drawing, dtype=torch.uint8)
        powers = torch.randint(122, 126, shape, generator=drawing, dtype=torch.uint8)
        found[f"{name}_blocks"] = codes[..., 0::2] | codes[..., 1::2] << 4
        found[f"{name}_scales"] = powers
        numbers = torch.tensor([*CODES, *(-each for each in CODES)])[codes.long()]
        numbers *= 2.0 ** (powers.float()[..., None] - 127)
        with torch.no_grad():
            module.get_parameter(name).copy_(numbers.reshape(experts, n_out, n_in).mT)
    return found


def with_biases(module: PreTrainedModel, tensors: Tensors) -> Tensors:
    """Draw biases for layers and norms that have none, and give them to the module too."""
    found = dict(tensors)
    drawing = torch.Generator().manual_seed(1)
    for name, part in module.named_modules():
        is_layer = isinstance(part, torch.nn.Linear) and name != "lm_head"
        if not (is_layer or isinstance(part, torch.nn.LayerNorm)):
            continue
        weight = part.get_parameter("weight")
        drawn = torch.randn(weight.shape[0], generator=drawing) * 0.2
        part.bias = torch.nn.Parameter(drawn)
        found[f"{name}.bias"] = drawn
    return found
