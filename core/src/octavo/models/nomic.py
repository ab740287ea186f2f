"""Nomic-BERT: BERT with rotary positions, a gated MLP and hardly a bias.

Checkpoints are published with the config of GPT-2's words; transformers writes its own. Positions
are stretched only beyond what the model was trained for, where no prompt goes.

Source: arXiv 2402.01613. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from octavo.models.encoder import (
    ClassHead,
    EncoderFamily,
    EncoderSpec,
    is_classifier,
    num_classes,
)
from octavo.models.naming import Fused, Naming, at, attention_of
from octavo.models.reading import Config, flag, in_these_words, number, refuse, whole
from octavo.models.spec import Norms, NormSpec, decoder_spec

WORDS: Mapping[str, str] = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
    "rope_theta": "rotary_emb_base",
    "partial_rotary_factor": "rotary_emb_fraction",
}
ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu"}
THETA = 1000.0


def nomic_spec(config: Config) -> EncoderSpec:
    """Read the config of a Nomic-BERT model.

    Raises: NotBuilt, for experts, for norms before a layer, and for learned positions beside.
    """
    refuse(config, "nomic", prenorm=False, parallel_block=False, causal=False, use_rms_norm=False)
    refuse(config, "nomic", rotary_emb_interleaved=False, rotary_emb_scale_base=0)
    refuse(config, "nomic", moe_every_n_layers=0)
    name = str(config.get("hidden_act") or config.get("activation_function") or "silu")
    own = {
        "layer_norm_eps": 1e-12,
        **in_these_words(config, WORDS),
        "hidden_act": ACTIVATIONS.get(name, name),
        "activation_function": None,
    }
    body = decoder_spec(own, "nomic", eps="layer_norm_eps", is_tied=True, theta=THETA)
    trained = whole(config, "max_trained_positions", body.max_context_tokens)
    bias = flag(config, "qkv_proj_bias", default=False)
    body = replace(
        body,
        attention_bias=bias,
        output_bias=bias,
        mlp_bias=flag(config, "mlp_fc1_bias", default=False),
        norm=NormSpec("layer_norm", has_bias=True),
        norms=Norms(before_attention=None, before_mlp=None, attention_sum="norm1", mlp_sum="norm2"),
        max_context_tokens=min(trained, body.max_context_tokens),
    )
    types = number(own, "type_vocab_size", 2)
    return EncoderSpec(
        body=body,
        pooling="mean" if not is_classifier(config) else "cls",
        token_types=int(types),
        has_first_norm=True,
        head=ClassHead(classes=num_classes(config)) if is_classifier(config) else None,
    )


def names(spec: EncoderSpec) -> Naming:
    """Find the weights, the three projections in one."""
    body = spec.body
    qkv = Fused("attn.Wqkv", 1, (body.heads,) * 3, body.head_width, body.width)
    return Naming(
        "nomic_bert.encoder.layers.",
        {
            "model.embed_tokens": "nomic_bert.embeddings.word_embeddings",
            "model.embed_types": "nomic_bert.embeddings.token_type_embeddings",
            "model.embed_norm": "nomic_bert.emb_ln",
            "head.dense": "nomic_bert.pooler.dense",
            "head.classes": "classifier",
        },
        {
            **attention_of(qkv),
            "self_attn.o_proj": at("attn.out_proj"),
            "mlp.up_proj": at("mlp.fc11"),
            "mlp.gate_proj": at("mlp.fc12"),
            "mlp.down_proj": at("mlp.fc2"),
        },
    )


FAMILY = EncoderFamily(
    "nomic",
    ("NomicBertModel", "NomicBertForMaskedLM"),
    ("NomicBertForSequenceClassification",),
    nomic_spec,
    names,
)
