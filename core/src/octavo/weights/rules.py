"""How one naming of tensors becomes another, as data.

A model asks for a tensor by its Hugging Face name; a rule says where a GGUF file keeps it. The
rows of the query and key projections are stored there in another order: within each head, the
two halves that rotate together are interleaved.

    stored       h0: a0 b0 a1 b1 a2 b2 ...      (b: half a head further on)
    as asked     h0: a0 a1 a2 ... b0 b1 b2 ...

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

LLAMA_GLOBALS: Mapping[str, str] = MappingProxyType(
    {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
    }
)
LLAMA_LAYER: Mapping[str, str] = MappingProxyType(
    {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
)
# Which projections are stored interleaved, and the config's word for their number of heads.
LLAMA_INTERLEAVED: Mapping[str, str] = MappingProxyType(
    {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}
)

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_GLOBAL = re.compile(r"(.+)\.(weight|bias)")


def llama_gguf(config: Mapping[str, object], names: Collection[str]) -> Rule:
    """Give the rule from Hugging Face's names of a llama model to a GGUF file's tensors.

    A file without an output projection ties it to the embedding.

    Raises: ModelError (the rule), for a name that a llama model does not have.
    Source: llama.cpp, convert_hf_to_gguf.py, `LlamaModel.permute`.
    """
    sizes = _Sizes.read(config)

    def rule(name: str) -> Recipe:
        if layer := _LAYER.fullmatch(name):
            number, part, suffix = layer.groups()
            if part in LLAMA_LAYER:
                stored = Take(f"blk.{number}.{LLAMA_LAYER[part]}.{suffix}")
                heads = LLAMA_INTERLEAVED.get(part)
                return sizes.halves(stored, sizes.heads[heads], suffix) if heads else stored
        elif (whole := _GLOBAL.fullmatch(name)) and whole[1] in LLAMA_GLOBALS:
            stored = Take(f"{LLAMA_GLOBALS[whole[1]]}.{whole[2]}")
            tied = stored.name == "output.weight" and stored.name not in names
            return Take("token_embd.weight") if tied else stored
        raise ModelError(
            f"A GGUF file of a llama model has no tensor for '{name}'. "
            "The model's definition and the file do not belong together."
        )

    return rule


@dataclass(frozen=True, slots=True)
class _Sizes:
    heads: Mapping[str, int]
    head_dim: int
    hidden_size: int

    @classmethod
    def read(cls, config: Mapping[str, object]) -> _Sizes:
        def size(key: str) -> int:
            value = config[key]
            assert isinstance(value, int), key  # gguf_config made it
            return value

        heads = {key: size(key) for key in LLAMA_INTERLEAVED.values()}
        return cls(heads, size("head_dim"), size("hidden_size"))

    def halves(self, stored: Recipe, num_heads: int, suffix: str) -> Recipe:
        """Undo the interleaving: the first halves of all pairs, then the second ones."""
        columns = (self.hidden_size,) if suffix == "weight" else ()
        axes = (0, 2, 1, 3)[: 3 + len(columns)]
        return Reorder(
            stored,
            view=(num_heads, self.head_dim // 2, 2, *columns),
            axes=axes,
            shape=(num_heads * self.head_dim, *columns),
        )
