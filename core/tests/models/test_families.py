"""Families as data: what their configs mean, old ones too, and where their weights are found.

Whether a family computes what its authors' code does, the parity tests show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from octavo.cli.models import SAMPLE
from octavo.errors import ModelError, NotBuilt
from octavo.graph.passes import optimised, sharded
from octavo.models.alibi import slopes
from octavo.models.decoder import Limits
from octavo.models.family import Family
from octavo.models.naming import Fused, Naming, at, below, each_head, transposed
from octavo.models.registry import FAMILIES, FAMILY_OF
from octavo.models.rope import RopeSpec, rope_spec
from octavo.models.spec import DecoderSpec
from octavo.weights.dummy import drawn_whole
from octavo_platforms.graph import attrs_of
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Given, Recipe, Take, pull, taken
from octavo_platforms.tensor import DType, HostTensor, host

LIMITS = Limits(max_step_tokens=8, max_requests=2, max_blocks=4, block_size=16)
LAYER = "model.layers.1."


class Tensors:
    """A checkpoint of one tensor."""

    def __init__(self, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        self._name, self._tensor = name, host(array)

    def names(self) -> tuple[str, ...]:
        return (self._name,)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.read(name).shape

    def dtype(self, name: str) -> DType:
        return self.read(name).dtype

    def read(self, name: str) -> HostTensor:
        assert name == self._name, f"there is no {name}"
        return self._tensor


def spec_of(architecture: str, **config: object) -> DecoderSpec:
    return FAMILY_OF[architecture].spec({**SAMPLE, **config})


def written(family: Family, spec: DecoderSpec) -> ProgramDef:
    return family.program(spec, dtype="float32", limits=LIMITS)


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_a_family_writes_a_program_that_the_passes_take_and_two_ranks_share(
    family: Family,
) -> None:
    program = written(family, family.spec(SAMPLE))
    assert len({each.name for each in program.weights}) == len(program.weights)
    assert program.name == family.name
    better = optimised(program, one_step=True)
    assert "step" in better.entries
    local = sharded(program, ranks=2)
    assert {each.name for each in local.weights} == {each.name for each in program.weights}
    assert sum(each.num_bytes for each in local.weights) < sum(
        each.num_bytes for each in program.weights
    )


def test_no_two_families_claim_an_architecture() -> None:
    assert len(FAMILY_OF) == sum(len(family.architectures) for family in FAMILIES)


@pytest.mark.parametrize(
    ("architecture", "change", "words"),
    [
        ("OPTForCausalLM", {"do_layer_norm_before": False}, "'do_layer_norm_before' is False"),
        ("OPTForCausalLM", {"word_embed_proj_dim": 16}, "'word_embed_proj_dim' is 16"),
        (
            "BloomForCausalLM",
            {"apply_residual_connection_post_layernorm": True},
            "post_layernorm' is True",
        ),
        ("MPTForCausalLM", {"attn_config": {"alibi": False}}, "'alibi' is False"),
        ("MPTForCausalLM", {"attn_config": {"qk_ln": True}}, "'qk_ln' is True"),
        ("MPTForCausalLM", {"attn_config": {"prefix_lm": True}}, "'prefix_lm' is True"),
        (
            "MPTForCausalLM",
            {"attn_config": {"attn_type": "multiquery_attention"}},
            "'multiquery_attention'",
        ),
        ("MPTForCausalLM", {"norm_type": "rmsnorm"}, "'norm_type' is 'rmsnorm'"),
        ("MPTForCausalLM", {"ffn_config": {"ffn_type": "mptglu"}}, "'ffn_type' is 'mptglu'"),
        ("MPTForCausalLM", {"logit_scale": "inv_sqrt_d_model"}, "'logit_scale' is"),
        ("OlmoeForCausalLM", {"clip_qkv": 8.0}, "'clip_qkv' is 8.0"),
        (
            "GPT2LMHeadModel",
            {"scale_attn_by_inverse_layer_idx": True},
            "inverse_layer_idx' is True",
        ),
        (
            "Qwen2ForCausalLM",
            {"use_sliding_window": True, "layer_types": ["chunked"] * 4},
            "chunked",
        ),
        ("Gemma3ForCausalLM", {"use_bidirectional_attention": True}, "bidirectional_attention' is"),
        ("LlamaForCausalLM", {"rope_parameters": {"full_attention": {}}}, "differ between layers"),
    ],
)
def test_what_a_family_does_not_have_is_refused_by_its_key(
    architecture: str, change: Mapping[str, object], words: str
) -> None:
    with pytest.raises(NotBuilt, match=words):
        spec_of(architecture, **change)


@pytest.mark.parametrize(
    ("architecture", "change", "words"),
    [
        ("LlamaForCausalLM", {"partial_rotary_factor": 3}, "do not fit each other: rotary at"),
        ("LlamaForCausalLM", {"head_dim": None, "hidden_size": 1}, "too narrow for 4 heads"),
        ("DeepseekV3ForCausalLM", {"n_group": 3}, "do not fit each other: route at"),
        ("Gemma2ForCausalLM", {"final_logit_softcapping": -1}, "'cap' has to be positive"),
        ("Gemma2ForCausalLM", {"query_pre_attn_scalar": 0}, "'query_pre_attn_scalar' has to be ab"),
        ("GraniteForCausalLM", {"logits_scaling": 0}, "'logits_scaling' has to be above zero"),
        ("BambaForCausalLM", {"attn_layer_indices": ["x"]}, "has to name layers that attend"),
        ("Mamba2ForCausalLM", {"time_step_limit": [0.5, 0.1]}, "not a lower limit and a higher"),
        ("Mamba2ForCausalLM", {"time_step_limit": ["x", 1]}, "has to be a list of 2 numbers"),
    ],
)
def test_a_config_whose_numbers_cannot_be_is_refused_whatever_the_family(
    architecture: str, change: Mapping[str, object], words: str
) -> None:
    family = FAMILY_OF[architecture]
    with pytest.raises(ModelError, match=words):
        written(family, spec_of(architecture, **change))


ODD: Sequence[object] = (None, -1, 0, 1, 1.5, "x", [], [1], ["x", "y"], {"a": 1}, True, np.nan)
MORE = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "layer_types")


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_a_config_that_is_odd_anywhere_is_written_or_refused_as_a_config(family: Family) -> None:
    refused = 0
    for index, key in enumerate((*SAMPLE, *MORE)):
        for value in ODD[index % 12 :: 12]:
            try:
                written(family, family.spec({**SAMPLE, key: value}))
            except ModelError:
                refused += 1
    assert refused > 0


def test_old_and_new_keys_of_a_config_mean_the_same() -> None:
    near, far = {"rope_type": "default", "rope_theta": 1e4}, {"rope_type": "linear", "factor": 8.0}
    new = {"sliding_attention": near, "full_attention": {**far, "rope_theta": 1e6}}
    old = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": far}
    gemma = spec_of("Gemma3ForCausalLM", rope_parameters=new, sliding_window_pattern=2)
    assert gemma == spec_of("Gemma3ForCausalLM", **old, sliding_window_pattern=2)
    assert [sight.window for sight in gemma.sights] == [8, None, 8, None]
    assert len(gemma.ropes()) == 2
    neox = spec_of("GPTNeoXForCausalLM", rotary_pct=0.5, rotary_emb_base=500.0)
    parameters = {"rope_theta": 500.0, "partial_rotary_factor": 0.5}
    assert neox == spec_of("GPTNeoXForCausalLM", rope_parameters=parameters)
    assert neox != spec_of("GPTNeoXForCausalLM")


def test_as_much_of_a_head_turns_as_the_family_says_where_its_config_does_not() -> None:
    turned = {
        name: 2 * len(spec_of(f"{name}ForCausalLM", head_dim=16).rope.frequencies)
        for name in ("Llama", "GPTNeoX", "StableLm", "Nemotron", "Glm", "Glm4")
    }
    halves = {"Nemotron": 8, "Glm": 8, "Glm4": 8}
    assert turned == {"Llama": 16, "GPTNeoX": 4, "StableLm": 4, **halves}


def test_windows_begin_where_a_config_says() -> None:
    late = {"use_sliding_window": True, "max_window_layers": 3}
    windows = [sight.window for sight in spec_of("Qwen2ForCausalLM", **late).sights]
    assert windows == [None, None, None, 8]
    assert spec_of("Qwen2ForCausalLM").sights == ()
    letters = spec_of("Exaone4ForCausalLM", sliding_window_pattern="LG")
    assert [sight.window for sight in letters.sights] == [8, None, 8, None]
    assert [sight.rope is None for sight in letters.sights] == [False, True, False, True]


def test_every_stretch_of_positions_slows_waves_and_none_quickens_one() -> None:
    base = {**SAMPLE, "max_position_embeddings": 4096, "original_max_position_embeddings": 256}
    plain = rope_spec(base, 64)
    yarn = {"rope_type": "yarn", "factor": 16.0}
    factors = {"short_factor": [1.0] * 32, "long_factor": [4.0] * 32}
    stretched = rope_spec({**base, "rope_scaling": yarn}, 64)
    ratio = stretched.array() / plain.array()
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(1 / 16)
    assert np.all(np.diff(ratio) <= 1e-6)
    assert stretched.factor == pytest.approx(0.1 * np.log(16) + 1)
    longrope = rope_spec({**base, "rope_scaling": {"type": "longrope", **factors}}, 64)
    assert longrope.factor == pytest.approx(np.sqrt(1 + np.log(16) / np.log(256)))
    assert rope_spec({**base, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, 64) == plain


def test_frequencies_for_long_contexts_are_taken_where_contexts_may_be_long() -> None:
    spec = RopeSpec((1.0, 0.5), 1.0, (0.5, 0.25), 64)
    assert spec.within(64).frequencies == (1.0, 0.5)
    assert spec.within(65).frequencies == (0.5, 0.25)
    family = FAMILY_OF["Phi3ForCausalLM"]
    made = replace(family.spec(SAMPLE), rope=spec, sights=(), head_width=8)
    longer = replace(LIMITS, max_blocks=5)
    short, long = (
        family.program(made, dtype="float32", limits=limits) for limits in (LIMITS, longer)
    )
    assert _literal(short) == [1.0, 0.5]
    assert _literal(long) == [0.5, 0.25]


def test_long_contexts_may_have_a_factor_of_their_own() -> None:
    lists = {"short_factor": [1.0, 1.0], "long_factor": [2.0, 4.0]}
    scaling = {"type": "longrope", "short_mscale": 1.1, "long_mscale": 1.3, **lists}
    config = {"max_position_embeddings": 64, "original_max_position_embeddings": 32}
    spec = rope_spec({**config, "rope_scaling": scaling}, 4)
    assert (spec.within(32).factor, spec.within(33).factor) == (1.1, 1.3)
    assert spec.within(33).frequencies == pytest.approx((0.5, 0.0025))


def test_queries_are_sharpened_where_contexts_may_be_longer_than_what_was_trained() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    ministral = FAMILY_OF["Ministral3ForCausalLM"]
    config = {**SAMPLE, "sliding_window": None}

    def every(max_blocks: int, scaling: Mapping[str, object]) -> list[object]:
        spec = ministral.spec({**config, "rope_parameters": scaling})
        limits = replace(LIMITS, max_blocks=max_blocks)
        program = ministral.program(spec, dtype="float32", limits=limits)
        nodes = program.entries["forward"].nodes
        return [attrs_of(node)["every"] for node in nodes if node.op == "sharpen"]

    sharper = {**yarn, "llama_4_scaling_beta": 0.1}
    assert every(2, sharper) == []
    assert every(3, sharper) == [32] * 4
    assert every(3, yarn) == []


def _literal(program: ProgramDef) -> list[float]:
    (leaf,) = program.entries["forward"].leaves_of("literal")
    assert leaf.data is not None
    found: list[float] = leaf.data.array.tolist()
    return found


def test_a_joined_tensor_gives_each_weight_its_own_rows() -> None:
    heads, width, columns = 2, 3, 5
    stored = np.arange(heads * 4 * width * columns, dtype=np.float32).reshape(-1, columns)
    fused = Fused("joined", heads, (2, 1, 1), width, columns)
    source = Tensors(f"{LAYER}joined.weight", stored)
    by_head = stored.reshape(heads, 4, width, columns)
    for index, run in enumerate((slice(0, 2), slice(2, 3), slice(3, 4))):
        found = pull(fused.run(index)(LAYER, "weight"), source).array
        assert np.array_equal(found, by_head[:, run].reshape(-1, columns))
    biases = Tensors(f"{LAYER}joined.bias", np.arange(24, dtype=np.float32))
    assert pull(fused.run(1)(LAYER, "bias"), biases).array.tolist() == [6, 7, 8, 18, 19, 20]


def test_a_tensor_that_was_stored_the_other_way_round_is_turned() -> None:
    stored = np.arange(12, dtype=np.float32).reshape(3, 4)
    source = Tensors(f"{LAYER}fc.weight", stored)
    found = pull(transposed("fc", 3, 4)(LAYER, "weight"), source)
    assert np.array_equal(found.array, stored.T)


def test_names_that_a_table_does_not_have_stay_as_they_are() -> None:
    rule = Naming("h.", {"model.norm": "ln_f"}, {"self_attn.o_proj": at("out")})
    assert rule("model.layers.7.self_attn.o_proj.bias") == Take("h.7.out.bias")
    assert rule("model.layers.7.mlp.up_proj.weight") == Take("h.7.mlp.up_proj.weight")
    assert rule("model.norm.weight") == Take("ln_f.weight")
    assert rule("lm_head.weight") == Take("lm_head.weight")
    parts: Recipe = each_head("norms", 3, 4)("h.0.", "weight")
    assert list(taken(parts)) == [f"h.0.norms.{head}.weight" for head in range(3)]
    table = Tensors("places.weight", np.arange(8, dtype=np.float32).reshape(4, 2))
    assert pull(below("places", 2, 4)("", "weight"), table).array.tolist() == [[4, 5], [6, 7]]


def test_what_families_differ_in_stands_in_the_attributes_of_their_nodes() -> None:
    family = FAMILY_OF["Gemma2ForCausalLM"]
    graph = written(family, family.spec(SAMPLE)).entries["forward"]
    norms = {attrs_of(node)["offset"] for node in graph.nodes if node.op == "rms_norm"}
    caps = {attrs_of(node)["softcap"] for node in graph.nodes if node.op == "attention"}
    windows = [attrs_of(node)["window"] for node in graph.nodes if node.op == "attention"]
    assert (norms, caps, windows) == ({1.0}, {50.0}, [8, None, 8, None])


def test_heads_that_are_no_power_of_two_have_slopes_of_the_next_every_second_first() -> None:
    assert slopes(8) == tuple(2.0**-power for power in range(1, 9))
    assert slopes(1) == (2.0**-8,)
    assert slopes(6) == tuple(2.0**-power for power in (2, 4, 6, 8, 1, 3))
    assert slopes(4, steepest=4) == tuple(2.0**-power for power in range(1, 5))
    assert slopes(112)[:2] == pytest.approx((2.0**-0.125, 2.0**-0.25))
    assert len(set(slopes(112))) == 112


def test_alibi_stands_in_place_of_positions_and_in_a_weight_that_no_checkpoint_has() -> None:
    for architecture, config, scale in (
        ("FalconForCausalLM", {"alibi": True, "multi_query": False}, 8**-0.5),
        ("BloomForCausalLM", {}, 1.0),
        ("MptForCausalLM", {}, 1.0),
    ):
        family, spec = FAMILY_OF[architecture], spec_of(architecture, **config)
        assert spec.slopes == tuple(each * scale for each in slopes(4))
        assert spec.ropes() == ()
        program = family.program(spec, dtype="bfloat16", limits=LIMITS)
        attending = [node for node in program.entries["forward"].nodes if node.op == "attention"]
        assert all(attrs_of(node)["slopes"] for node in attending)
        made = [weight for weight in program.weights if weight.name.endswith("slopes")]
        assert {(weight.recipe, weight.dtype) for weight in made} == {
            (Given(spec.slopes), "float32")
        }
        assert drawn_whole(program).weights[-1].recipe != made[0].recipe
        assert made[0] in drawn_whole(program).weights
    less = spec_of("MptForCausalLM", attn_config={"alibi_bias_max": 4})
    assert less.slopes == slopes(4, steepest=4)
    assert not spec_of("FalconForCausalLM").slopes
    assert spec_of("FalconForCausalLM").ropes()


def test_configs_as_they_were_published_are_read_in_their_own_words() -> None:
    bloom = FAMILY_OF["BloomForCausalLM"].spec(
        {
            **{"n_embed": 1024, "n_layer": 24, "num_attention_heads": 16, "vocab_size": 250880},
            **{"seq_length": 2048, "apply_residual_connection_post_layernorm": False},
        }
    )
    assert (bloom.width, bloom.ffn_width, bloom.layers, bloom.kv_heads) == (1024, 4096, 24, 16)
    assert (bloom.max_context_tokens, bloom.tied_embeddings) == (2048, True)
    attention = {
        **{"alibi": True, "alibi_bias_max": 16, "attn_impl": "torch", "attn_pdrop": 0},
        **{"attn_type": "multihead_attention", "attn_uses_sequence_id": False, "clip_qkv": 6},
        **{"prefix_lm": False, "qk_ln": False, "softmax_scale": None},
    }
    told: dict[str, object] = {
        **{"d_model": 4096, "n_heads": 32, "n_layers": 32, "max_seq_len": 65536},
        **{"expansion_ratio": 4, "no_bias": True, "norm_type": "low_precision_layernorm"},
        **{"learned_pos_emb": True, "logit_scale": None, "vocab_size": 50432},
    }
    story = FAMILY_OF["MPTForCausalLM"].spec({**told, "attn_config": attention})
    assert (story.width, story.ffn_width, story.layers, story.kv_heads) == (4096, 16384, 32, 32)
    assert (story.max_context_tokens, story.clip, story.norm.has_bias) == (65536, 6.0, False)
    assert (story.slopes[0], story.slopes[-1]) == (2.0**-0.5, 2.0**-16)


def test_the_number_on_embeddings_is_rounded_where_the_family_rounds_it() -> None:
    for architecture, config, expected in (
        ("GemmaForCausalLM", {"hidden_size": 48}, 6.9375),
        ("GraniteForCausalLM", {"embedding_multiplier": 6.9282}, 6.9282),
    ):
        family, spec = FAMILY_OF[architecture], spec_of(architecture, **config)
        graph = family.program(spec, dtype="bfloat16", limits=LIMITS).entries["forward"]
        scales = [attrs_of(node)["factor"] for node in graph.nodes if node.op == "scale"]
        assert scales[0] == expected
