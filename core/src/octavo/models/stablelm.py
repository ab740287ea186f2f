"""StableLM: Llama with layer norms, of which a quarter of each head turns.

Some have a norm of its own for each head; some have attention and MLP side by side.
Source: arXiv 2402.17834. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.models.family import Family
from octavo.models.naming import Naming, each_head
from octavo.models.reading import Config, flag
from octavo.models.spec import DecoderSpec, HeadNorms, Norms, NormSpec, decoder_spec


def stablelm_spec(config: Config) -> DecoderSpec:
    """Read the config of a StableLM model."""
    spec = decoder_spec(
        {"layer_norm_eps": 1e-5, **config}, "stablelm", eps="layer_norm_eps", partial=0.25
    )
    is_parallel = flag(config, "use_parallel_residual", default=False)
    return replace(
        spec,
        attention_bias=flag(config, "use_qkv_bias", default=False),
        output_bias=False,
        is_parallel=is_parallel,
        norm=NormSpec("layer_norm", has_bias=True),
        norms=Norms(before_mlp=None) if is_parallel else Norms(),
        head_norms=HeadNorms("own head") if flag(config, "qk_layernorm", default=False) else None,
    )


def names(spec: DecoderSpec) -> Naming:
    """Find the norms of heads, a tensor each."""
    return Naming(
        inside={
            "self_attn.q_norm": each_head(
                "self_attn.q_layernorm.norms", spec.heads, spec.head_width
            ),
            "self_attn.k_norm": each_head(
                "self_attn.k_layernorm.norms", spec.kv_heads, spec.head_width
            ),
        }
    )


FAMILY = Family("stablelm", ("StableLmForCausalLM",), stablelm_spec, names)
