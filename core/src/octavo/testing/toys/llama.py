"""A Llama of two layers and a hundred tokens: every op of the family, in milliseconds.

Three query heads share one KV head, so that grouped heads are told from plain ones.
"""

from __future__ import annotations

from octavo.models.decoder import Limits
from octavo.models.llama import llama_spec
from octavo.models.registry import FAMILY_OF
from octavo.models.spec import DecoderSpec
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DType


def spec(*, tied_embeddings: bool = True, attention_bias: bool = False) -> DecoderSpec:
    """Give the toy's dimensions."""
    return llama_spec(
        {
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
            "tie_word_embeddings": tied_embeddings,
            "attention_bias": attention_bias,
        }
    )


def program(
    toy: DecoderSpec, *, dtype: DType = "float32", limits: Limits | None = None
) -> ProgramDef:
    """Write the toy, as yet without passes."""
    sizes = limits or Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=16)
    return FAMILY_OF["LlamaForCausalLM"].program(toy, dtype=dtype, limits=sizes)
