"""How one naming of tensors becomes another, as data.

A model asks for a tensor by its Hugging Face name; a rule says where a GGUF file keeps it. One
row an architecture: the names, and what the file changes besides. In llama's files the rows of the
query and key projections stand in another order: within each head, the two halves that rotate
together are interleaved.

    stored       h0: a0 b0 a1 b1 a2 b2 ...      (b: half a head further on)
    as asked     h0: a0 a1 a2 ... b0 b1 b2 ...

In Gemma's files norms are stored as what rows are multiplied by, one more than the weight.

Knows nothing of files; whether a tensor is there is found out when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from octavo.errors import ModelError
from octavo_platforms.recipes import Recipe, Reorder, Take

Rule = Callable[[str], Recipe]


@dataclass(frozen=True, slots=True)
class Kept:
    """How the files of one architecture keep tensors: Hugging Face's names to theirs.

    In `inside` a layer's, an expert's number is written `*`. `is_interleaved` tells of queries
    and keys, `norms_plus_one` of all norms.
    """

    inside: Mapping[str, str]
    outside: Mapping[str, str]
    is_interleaved: bool = False
    norms_plus_one: bool = False


_OUTSIDE: Mapping[str, str] = MappingProxyType(
    {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
)
_ATTENTION: Mapping[str, str] = MappingProxyType(
    {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
    }
)
_MLP: Mapping[str, str] = MappingProxyType(
    {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
)
_HEAD_NORMS: Mapping[str, str] = MappingProxyType(
    {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
)
_AROUND: Mapping[str, str] = MappingProxyType(
    {
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
)
_MIXTRAL: Mapping[str, str] = MappingProxyType(
    {
        "block_sparse_moe.gate": "ffn_gate_inp",
        "block_sparse_moe.experts.*.w1": "ffn_gate.*",
        "block_sparse_moe.experts.*.w2": "ffn_down.*",
        "block_sparse_moe.experts.*.w3": "ffn_up.*",
    }
)
_QWEN_EXPERTS: Mapping[str, str] = MappingProxyType(
    {
        "mlp.gate": "ffn_gate_inp",
        "mlp.experts.*.gate_proj": "ffn_gate.*",
        "mlp.experts.*.up_proj": "ffn_up.*",
        "mlp.experts.*.down_proj": "ffn_down.*",
    }
)
_PHI3: Mapping[str, str] = MappingProxyType(
    {
        "input_layernorm": "attn_norm",
        "self_attn.qkv_proj": "attn_qkv",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
)
_DENSE = {**_ATTENTION, **_MLP}

# Source: llama.cpp, gguf-py/gguf/tensor_mapping.py and convert_hf_to_gguf.py.
KEPT: Mapping[str, Kept] = MappingProxyType(
    {
        "llama": Kept({**_DENSE, **_MIXTRAL}, _OUTSIDE, is_interleaved=True),
        "qwen2": Kept(_DENSE, _OUTSIDE),
        "qwen3": Kept({**_DENSE, **_HEAD_NORMS}, _OUTSIDE),
        "qwen3moe": Kept({**_ATTENTION, **_HEAD_NORMS, **_QWEN_EXPERTS}, _OUTSIDE),
        "gemma": Kept(_DENSE, _OUTSIDE, norms_plus_one=True),
        "gemma2": Kept({**_DENSE, **_AROUND}, _OUTSIDE, norms_plus_one=True),
        "gemma3": Kept({**_DENSE, **_AROUND, **_HEAD_NORMS}, _OUTSIDE, norms_plus_one=True),
        "phi3": Kept(_PHI3, _OUTSIDE),
    }
)
# Which projections are stored interleaved, and the config's word for their number of heads.
_INTERLEAVED: Mapping[str, str] = MappingProxyType(
    {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}
)
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_EXPERT = re.compile(r"(.+\.experts)\.(\d+)\.(.+)")
_GLOBAL = re.compile(r"(.+)\.(weight|bias)")
_EMBEDDING = "token_embd.weight"


def gguf_rule(architecture: str, config: Mapping[str, object], names: Collection[str]) -> Rule:
    """Give the rule from Hugging Face's names to the tensors of a GGUF file of an architecture.

    A file without an output projection ties it to the embedding.

    Raises: ModelError (the rule), for a name that such a model does not have.
    Source: llama.cpp, convert_hf_to_gguf.py, `LlamaModel.permute`.
    """
    kept = KEPT[architecture]

    def rule(name: str) -> Recipe:
        if layer := _LAYER.fullmatch(name):
            number, part, suffix = layer.groups()
            stored = _inside(kept, part)
            if stored is not None:
                take = Take(f"blk.{number}.{stored}.{suffix}")
                heads = _INTERLEAVED.get(part) if kept.is_interleaved else None
                return _halves(take, config, heads, suffix) if heads else take
        elif (whole := _GLOBAL.fullmatch(name)) and whole[1] in kept.outside:
            take = Take(f"{kept.outside[whole[1]]}.{whole[2]}")
            tied = take.name == "output.weight" and take.name not in names
            return Take(_EMBEDDING) if tied else take
        raise ModelError(
            f"A GGUF file of the architecture '{architecture}' has no tensor for '{name}'. "
            "The model's definition and the file do not belong together."
        )

    return rule


def is_plus_one(architecture: str, name: str) -> bool:
    """Tell whether a file stores a tensor as one more than the weight."""
    return KEPT[architecture].norms_plus_one and name.endswith("norm.weight")


def _inside(kept: Kept, part: str) -> str | None:
    if expert := _EXPERT.fullmatch(part):
        stored = kept.inside.get(f"{expert[1]}.*.{expert[3]}")
        return None if stored is None else stored.replace("*", expert[2])
    return kept.inside.get(part)


def _halves(stored: Recipe, config: Mapping[str, object], heads: str, suffix: str) -> Recipe:
    """Undo the interleaving: the first halves of all pairs, then the second ones."""

    def size(key: str) -> int:
        value = config[key]
        assert isinstance(value, int), key  # gguf_config made it
        return value

    num_heads, head_dim = size(heads), size("head_dim")
    columns = (size("hidden_size"),) if suffix == "weight" else ()
    return Reorder(
        stored,
        view=(num_heads, head_dim // 2, 2, *columns),
        axes=(0, 2, 1, 3)[: 3 + len(columns)],
        shape=(num_heads * head_dim, *columns),
    )
