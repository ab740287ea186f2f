"""Encoders as data: what their configs mean, old ones too, and where their weights are found.

Whether a family computes what its authors' code does, the parity tests show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from octavo.cli.models import HEADS, SAMPLE
from octavo.errors import ModelError, NotBuilt
from octavo.graph.passes import optimised
from octavo.models.decoder import Limits
from octavo.models.encoder import SPARE, EncoderFamily, EncoderSpec, pooling_of
from octavo.models.registry import ENCODER_OF, ENCODERS, FAMILY_OF, find_body, find_encoder
from octavo.models.spec import Places, Sight
from octavo.weights.find import find
from octavo.weights.load import from_checkpoint
from octavo_platforms.graph import attrs_of
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import taken

LIMITS = Limits(max_step_tokens=8, max_requests=2, max_blocks=4, block_size=16)


def spec_of(architecture: str, **config: object) -> EncoderSpec:
    given = {**SAMPLE, **HEADS, "architectures": [architecture], **config}
    return ENCODER_OF[architecture].spec(given)


def written(family: EncoderFamily, spec: EncoderSpec) -> ProgramDef:
    return family.program(spec, dtype="float32", limits=LIMITS)


def reaches(spec: EncoderSpec, family: EncoderFamily) -> list[tuple[object, object]]:
    (graph,) = written(family, spec).entries.values()
    found = (attrs_of(node) for node in graph.nodes if node.op == "encoder_attention")
    return [(each["before"], each["after"]) for each in found]


@pytest.mark.parametrize("family", ENCODERS, ids=[family.name for family in ENCODERS])
def test_a_family_writes_one_entry_without_a_state_that_the_passes_take(
    family: EncoderFamily,
) -> None:
    for entry, architecture in (
        ("pool", family.architectures[0]),
        ("score", family.classifiers[0]),
    ):
        program = written(family, spec_of(architecture))
        assert list(optimised(program, one_step=True).entries) == [entry]
        assert (program.states, program.buffers) == ((), ())
        assert {symbol.name for symbol in program.symbols} == {"T", "R", "S"}


def test_no_two_families_claim_an_architecture() -> None:
    names = [name for each in ENCODERS for name in (*each.architectures, *each.classifiers)]
    assert len(set(names)) == len(names)
    assert not set(names) & set(FAMILY_OF)


def test_classes_are_those_that_the_config_names() -> None:
    labels = {"0": "a", "1": "b", "2": "c"}
    for count, config in ((3, {"id2label": labels}), (7, {"num_labels": 7}), (2, {})):
        head = spec_of("BertForSequenceClassification", **config).head
        assert head is not None
        assert head.classes == count
    assert spec_of("BertModel", id2label=labels).head is None


def test_roberta_counts_positions_from_behind_its_padding() -> None:
    spec = spec_of("RobertaModel", max_position_embeddings=64, pad_token_id=1)
    assert (spec.body.places, spec.body.max_context_tokens) == (Places(64, 2), 62)
    with pytest.raises(ModelError, match="'pad_token_id' is None"):
        spec_of("RobertaModel", pad_token_id=None)


def test_segments_are_told_apart_only_where_there_are_several_kinds() -> None:
    assert spec_of("BertModel").tells_segments
    assert not spec_of("XLMRobertaModel", type_vocab_size=1).tells_segments
    assert not spec_of("ModernBertModel").tells_segments


@pytest.mark.parametrize(
    "config",
    [
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"add_cross_attention": True},
    ],
)
def test_what_bert_is_not_built_with_is_refused_by_name(config: Mapping[str, object]) -> None:
    with pytest.raises(NotBuilt, match=next(iter(config))):
        spec_of("BertModel", **config)


def test_modernberts_first_configs_and_its_present_ones_say_the_same() -> None:
    old = {
        "local_attention": 12,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 5000.0,
        "local_rope_theta": 300.0,
    }
    kinds = ["full_attention", "sliding_attention"] * 2
    new = {
        "local_attention": 12,
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        },
    }
    spec = spec_of("ModernBertModel", **old)
    assert spec == spec_of("ModernBertModel", **new)
    assert reaches(spec, ENCODER_OF["ModernBertModel"]) == [(None, None), (6, 6)] * 2
    far, near = spec.body.sights[:2]
    assert (far.window, near.window) == (None, 7)
    assert isinstance(near, Sight)
    assert near.rope != far.rope


def test_nomics_published_configs_and_those_of_transformers_say_the_same() -> None:
    sizes = {key: SAMPLE[key] for key in ("vocab_size",)}
    published = {
        "architectures": ["NomicBertModel"],
        **{"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 128},
        **{"rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "activation_function": "swiglu"},
        **{"layer_norm_epsilon": 1e-12, "max_trained_positions": 64, "prenorm": False},
        **{"qkv_proj_bias": False, "mlp_fc1_bias": False, "rotary_scaling_factor": 2},
        **sizes,
    }
    ours = {
        "architectures": ["NomicBertModel"],
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"intermediate_size": 48, "max_position_embeddings": 64, "hidden_act": "silu"},
        **sizes,
    }
    family = ENCODER_OF["NomicBertModel"]
    assert family.spec(published) == family.spec(ours)
    with pytest.raises(NotBuilt, match="moe_every_n_layers"):
        family.spec({**published, "moe_every_n_layers": 2})


def test_what_generates_is_pooled_by_its_last_token_and_sees_only_what_is_before() -> None:
    family = pooling_of(FAMILY_OF["Qwen3ForCausalLM"])
    windows = {"use_sliding_window": True, "max_window_layers": 2}
    spec = family.spec({**SAMPLE, **windows})
    assert (spec.pooling, spec.is_causal, spec.has_last_norm) == ("last", True, True)
    assert reaches(spec, family) == [(None, 0)] * 2 + [(7, 0)] * 2
    with pytest.raises(NotBuilt, match="is_causal"):
        family.spec({**SAMPLE, "is_causal": False})
    for architecture in ("MixtralForCausalLM", "GptOssForCausalLM", "Gemma2ForCausalLM"):
        with pytest.raises(NotBuilt, match="are not pooled here"):
            pooling_of(FAMILY_OF[architecture]).spec(SAMPLE)


def test_a_body_without_a_head_is_that_of_its_family() -> None:
    assert find_body({"architectures": ["Qwen3Model"]}) is FAMILY_OF["Qwen3ForCausalLM"]
    assert find_body({"architectures": ["Qwen3ForCausalLM"]}) is None
    assert find_body({"architectures": ["UnheardOfModel"]}) is None
    assert find_encoder({"architectures": ["Qwen3Model"]}) is None


def test_the_first_checkpoints_names_and_other_heads_are_no_hindrance(tmp_path: Path) -> None:
    family, spec = ENCODER_OF["BertModel"], spec_of("BertForMaskedLM")
    program = written(family, spec)
    tensors = {}
    for weight in program.weights:
        (name,) = taken(weight.recipe)
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        tensors[old.replace("LayerNorm.bias", "LayerNorm.beta")] = np.zeros(
            weight.shape, np.float32
        )
    assert "bert.encoder.layer.3.output.LayerNorm.beta" in tensors
    tensors["bert.pooler.dense.weight"] = np.zeros((32, 32), np.float32)
    tensors["cls.predictions.bias"] = np.zeros(64, np.float32)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertForMaskedLM"]}))
    save_file(tensors, tmp_path / "model.safetensors")
    named = from_checkpoint(program, find(str(tmp_path)), spare=SPARE)
    assert {name for each in named.weights for name in taken(each.recipe)} <= set(tensors)
    with pytest.raises(ModelError, match="2 tensors that this model would not use"):
        from_checkpoint(program, find(str(tmp_path)))
