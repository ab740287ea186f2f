"""BERT and RoBERTa: learned positions, norms of sums, and a first token that stands for all.

RoBERTa counts positions from behind the padding's, and scores by a head of its own. XLM-RoBERTa
and CamemBERT are RoBERTa with other vocabularies.

Source: arXiv 1810.04805 and 1907.11692. Knows nothing of how a layer is written (`dense`).
"""

from __future__ import annotations

from dataclasses import replace

from octavo.errors import ModelError
from octavo.models.encoder import (
    ClassHead,
    EncoderFamily,
    EncoderSpec,
    is_classifier,
    num_classes,
)
from octavo.models.naming import Made, Naming, at, below
from octavo.models.reading import Config, refuse, whole
from octavo.models.spec import Norms, NormSpec, Places, decoder_spec

EPS = 1e-12
SUMS = Norms(
    before_attention=None,
    before_mlp=None,
    attention_sum="attention.output.LayerNorm",
    mlp_sum="output.LayerNorm",
)
INSIDE = {
    "self_attn.q_proj": at("attention.self.query"),
    "self_attn.k_proj": at("attention.self.key"),
    "self_attn.v_proj": at("attention.self.value"),
    "self_attn.o_proj": at("attention.output.dense"),
    "mlp.up_proj": at("intermediate.dense"),
    "mlp.down_proj": at("output.dense"),
}


def bert_spec(config: Config) -> EncoderSpec:
    """Read the config of a BERT model. Raises: NotBuilt, for positions by distance."""
    return _spec(config, "bert", skipped=0)


def roberta_spec(config: Config) -> EncoderSpec:
    """Read the config of a RoBERTa model. Raises: NotBuilt, for positions by distance."""
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int) or padding < 0:
        raise ModelError(
            f"config.json: 'pad_token_id' is {padding!r}, but positions are counted from behind "
            "it: it has to be a token's id."
        )
    return _spec(config, "roberta", skipped=padding + 1)


def _spec(config: Config, name: str, *, skipped: int) -> EncoderSpec:
    refuse(config, name, position_embedding_type="absolute", is_decoder=False)
    refuse(config, name, add_cross_attention=False)
    rows = whole(config, "max_position_embeddings")
    body = decoder_spec(
        {"layer_norm_eps": EPS, **config},
        name,
        activation="gelu",
        eps="layer_norm_eps",
        is_tied=True,
        has_rope=False,
    )
    body = replace(
        body,
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        is_gated=False,
        norm=NormSpec("layer_norm", has_bias=True),
        norms=SUMS,
        places=Places(rows, skipped),
        max_context_tokens=rows - skipped,
    )
    return EncoderSpec(
        body=body,
        pooling="cls",
        token_types=whole(config, "type_vocab_size", 2),
        has_first_norm=True,
        head=ClassHead(classes=num_classes(config)) if is_classifier(config) else None,
    )


def bert_names(spec: EncoderSpec) -> Naming:
    """Find the weights below `bert`, and the head in its pooler."""
    return _names(spec, "bert", "bert.pooler.dense", "classifier")


def roberta_names(spec: EncoderSpec) -> Naming:
    """Find the weights below `roberta`, and the head in the classifier."""
    return _names(spec, "roberta", "classifier.dense", "classifier.out_proj")


def _names(spec: EncoderSpec, root: str, dense: str, classes: str) -> Naming:
    places = spec.body.places
    assert places is not None, "positions are learned"
    stored = f"{root}.embeddings.position_embeddings"
    positions: str | Made = below(stored, places.skipped, places.rows) if places.skipped else stored
    return Naming(
        f"{root}.encoder.layer.",
        {
            "model.embed_tokens": f"{root}.embeddings.word_embeddings",
            "model.embed_positions": positions,
            "model.embed_types": f"{root}.embeddings.token_type_embeddings",
            "model.embed_norm": f"{root}.embeddings.LayerNorm",
            "head.dense": dense,
            "head.classes": classes,
        },
        INSIDE,
    )


BERT = EncoderFamily(
    "bert",
    ("BertModel", "BertForMaskedLM", "BertForPreTraining"),
    ("BertForSequenceClassification",),
    bert_spec,
    bert_names,
)
ROBERTA = EncoderFamily(
    "roberta",
    (
        *("RobertaModel", "RobertaForMaskedLM", "XLMRobertaModel", "XLMRobertaForMaskedLM"),
        *("CamembertModel", "CamembertForMaskedLM"),
    ),
    (
        "RobertaForSequenceClassification",
        "XLMRobertaForSequenceClassification",
        "CamembertForSequenceClassification",
    ),
    roberta_spec,
    roberta_names,
)
