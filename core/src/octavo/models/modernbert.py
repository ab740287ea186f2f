"""ModernBERT: rotary positions, a gated MLP, and layers that see near by but for every third.

Layers that see near by turn by shorter waves. The first layer has no norm before its attention,
because the embeddings have just had one.

Source: arXiv 2412.13663. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from octavo.errors import ModelError
from octavo.graph.builder import GraphBuilder
from octavo.models.decoder import Context, Layer
from octavo.models.encoder import (
    Between,
    ClassHead,
    EncoderFamily,
    EncoderSpec,
    Pooling,
    as_dense,
    is_classifier,
    num_classes,
)
from octavo.models.naming import Fused, Naming, at, attention_of, rows_of
from octavo.models.reading import FULL, SLIDING, Config, flag, kinds, number, whole
from octavo.models.rope import rope_spec
from octavo.models.spec import ACTIVATION_OF, Norms, NormSpec, Sight, decoder_spec
from octavo_platforms.graph import Value

FAR_THETA, NEAR_THETA = 160000.0, 10000.0
NEAR_TOKENS = 128
BETWEEN: dict[str, Between] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}


def modernbert_spec(config: Config) -> EncoderSpec:
    """Read the config of a ModernBERT model, as it is written now or was at first."""
    own = {"norm_eps": 1e-5, **config, "rope_parameters": None, "rope_scaling": None}
    body = decoder_spec(own, "modernbert", activation="gelu", eps="norm_eps", is_tied=True)
    far = rope_spec(
        config, body.head_width, theta=number(config, "global_rope_theta", FAR_THETA), kind=FULL
    )
    near = rope_spec(
        config, body.head_width, theta=number(config, "local_rope_theta", NEAR_THETA), kind=SLIDING
    )
    reach = whole(config, "local_attention", NEAR_TOKENS) // 2
    every = whole(config, "global_attn_every_n_layers", 3)
    default = tuple(SLIDING if index % every else FULL for index in range(body.layers))
    body = replace(
        body,
        rope=far,
        sights=tuple(
            Sight(reach + 1, near) if each == SLIDING else Sight(None, far)
            for each in kinds(config, default)
        ),
        output_bias=body.attention_bias,
        norm=NormSpec("layer_norm", has_bias=flag(config, "norm_bias", default=False)),
        norms=Norms(before_attention="attn_norm", before_mlp="mlp_norm"),
    )
    head = _head(config) if is_classifier(config) else None
    return EncoderSpec(
        body=body,
        pooling="cls" if head is None else _pooling(config),
        has_first_norm=True,
        has_last_norm=True,
        head=head,
    )


def _head(config: Config) -> ClassHead:
    name = ACTIVATION_OF.get(str(config.get("classifier_activation", "gelu")), "")
    if name not in BETWEEN:
        raise ModelError(
            f"config.json: 'classifier_activation' is {config.get('classifier_activation')!r}; "
            f"built are {', '.join(BETWEEN)}."
        )
    return ClassHead(
        classes=num_classes(config),
        activation=BETWEEN[name],
        has_bias=flag(config, "classifier_bias", default=False),
        has_norm=True,
    )


def _pooling(config: Config) -> Pooling:
    match config.get("classifier_pooling", "cls"):
        case "cls":
            return "cls"
        case "mean":
            return "mean"
        case other:
            raise ModelError(f"config.json: 'classifier_pooling' is {other!r}, not cls or mean.")


def layer(spec: EncoderSpec) -> Layer:
    """Give the layers, the first of which reads what is normed already."""
    return partial(_layer, as_dense(spec))


def _layer(plain: Layer, g: GraphBuilder, x: Value, context: Context, index: int) -> Value:
    if index == 0:
        spec = context.spec
        bare = replace(spec, norms=replace(spec.norms, before_attention=None))
        context = replace(context, spec=bare)
    return plain(g, x, context, index)


def names(spec: EncoderSpec) -> Naming:
    """Find the weights: the three projections in one, and gate and up of the MLP in another."""
    body = spec.body
    qkv = Fused("attn.Wqkv", 1, (body.heads,) * 3, body.head_width, body.width)
    return Naming(
        "model.layers.",
        {
            "model.embed_tokens": "model.embeddings.tok_embeddings",
            "model.embed_norm": "model.embeddings.norm",
            "model.norm": "model.final_norm",
            "head.classes": "classifier",
        },
        {
            **attention_of(qkv),
            "self_attn.o_proj": at("attn.Wo"),
            "mlp.gate_proj": rows_of("mlp.Wi", 0, body.ffn_width, body.width),
            "mlp.up_proj": rows_of("mlp.Wi", body.ffn_width, 2 * body.ffn_width, body.width),
            "mlp.down_proj": at("mlp.Wo"),
        },
    )


FAMILY = EncoderFamily(
    "modernbert",
    ("ModernBertModel", "ModernBertForMaskedLM"),
    ("ModernBertForSequenceClassification",),
    modernbert_spec,
    names,
    layer,
)
