"""The local view of one rank: what is cut, what is summed, what is refused, and what stays whole.

Whether ranks compute together what one computes alone, two processes show elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from octavo.cli.models import SAMPLE
from octavo.errors import OperatorError
from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo.graph.passes import optimised, sharded
from octavo.models.decoder import Limits, forward
from octavo.models.dense import layer as llama_layer
from octavo.models.registry import FAMILY_OF
from octavo.models.spec import DecoderSpec
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import adapters, experts, latent, llama, recurrent
from octavo_platforms.graph import (
    Dim,
    Graph,
    GraphWriter,
    StateType,
    TensorType,
    Value,
    attrs_of,
)
from octavo_platforms.program import ProgramDef, Symbol, WeightDef
from octavo_platforms.recipes import Join, Once, Part, pull

LIMITS = Limits(max_step_tokens=16, max_requests=4, max_blocks=8, block_size=4)
LAYER = "model.layers.0"
T = Dim("T")


def toy(spec: DecoderSpec | None = None) -> ProgramDef:
    return llama.program(spec or llama.spec(), limits=LIMITS)


def weight(program: ProgramDef, name: str) -> WeightDef:
    return next(each for each in program.weights if each.name == name)


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph.nodes)


def whole_and_parts(program: ProgramDef, name: str, *, ranks: int) -> tuple[np.ndarray, ...]:
    """Pull a weight as it was, then each rank's part."""
    source = RandomWeights(program)
    local = weight(sharded(program, ranks=ranks), name)
    parts = [pull(local.recipe, source, {"tp": rank}).array for rank in range(ranks)]
    assert {part.shape for part in parts} == {local.shape}
    return (pull(weight(program, name).recipe, source).array, *parts)


def small(write: Callable[[GraphBuilder, Value], Value]) -> ProgramDef:
    program = ProgramBuilder("small", dtype="float32", symbols=[Symbol("T", 8)])
    g = program.entry("run")
    g.output("out", write(g, g.input("x", (T, 8), "float32")))
    return program.finish()


def test_one_rank_has_the_program_itself() -> None:
    program = toy()
    assert sharded(program, ranks=1) is program


def test_layer_sums_twice_and_the_model_embeds_and_gathers_once() -> None:
    view = sharded(toy(), ranks=2)
    assert ops(view.entries["forward"]) >= Counter(
        {"all_reduce": 2 * 2 + 1, "embedding_part": 1, "all_gather": 1}
    )
    assert ops(view.entries["forward"])["embedding"] == 0
    assert view.entries["sample"].hash == toy().entries["sample"].hash


def test_columns_and_rows_of_the_ranks_are_those_of_the_whole() -> None:
    for name, axis in (("self_attn.q_proj", 0), ("self_attn.o_proj", 1), ("mlp.down_proj", 1)):
        whole, *parts = whole_and_parts(toy(), f"{LAYER}.{name}.weight", ranks=2)
        assert np.array_equal(np.concatenate(parts, axis), whole)


def test_vocabulary_that_does_not_divide_is_filled_up_and_cut_off_again() -> None:
    whole, first, second = whole_and_parts(toy(), "model.embed_tokens.weight", ranks=2)
    assert len(whole) == 101
    assert np.array_equal(np.concatenate([first, second])[:101], whole)
    assert not second[-1].any()
    logits = dict(sharded(toy(), ranks=2).entries["forward"].outputs)["logits"]
    kept = sharded(toy(), ranks=2).entries["forward"].tensor_type(logits)
    assert kept == TensorType((Dim("S"), 101), "float32")


def test_ranks_past_the_number_of_kv_heads_share_them_with_their_neighbours() -> None:
    name = f"{LAYER}.self_attn.k_proj.weight"
    spec = replace(llama.spec(), ffn_width=66)
    whole, *parts = whole_and_parts(toy(spec), name, ranks=6)
    for rank, part in enumerate(parts):
        head = rank // 3
        assert np.array_equal(part, whole[8 * head : 8 * head + 8])
    planes = sharded(toy(spec), ranks=6).state("kv").planes
    assert {plane.shape for plane in planes} == {(1, 8)}


def test_state_keeps_the_heads_of_one_rank() -> None:
    spec = replace(llama.spec(), kv_heads=6)
    assert {plane.shape for plane in sharded(toy(spec), ranks=2).state("kv").planes} == {(3, 8)}


def test_bias_of_columns_is_cut_and_that_of_rows_is_added_once() -> None:
    view = sharded(toy(llama.spec(attention_bias=True)), ranks=2)
    assert isinstance(weight(view, f"{LAYER}.self_attn.q_proj.bias").recipe, Part)
    assert isinstance(weight(view, f"{LAYER}.self_attn.o_proj.bias").recipe, Once)


def test_each_rank_has_the_slopes_of_its_own_heads() -> None:
    bloom = FAMILY_OF["BloomForCausalLM"]
    program = bloom.program(bloom.spec(SAMPLE), dtype="bfloat16", limits=LIMITS)
    whole, first, second = whole_and_parts(program, f"{LAYER}.self_attn.slopes", ranks=2)
    assert whole.tolist() == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]
    assert first.tolist() == whole[:2].tolist()
    assert second.tolist() == whole[2:].tolist()
    assert weight(sharded(program, ranks=2), f"{LAYER}.self_attn.slopes").dtype == "float32"


def test_experts_have_a_part_of_each_gate_and_of_what_it_gates() -> None:
    program = experts.program(llama.spec(), limits=LIMITS)
    whole, first, second = whole_and_parts(program, f"{LAYER}.mlp.experts.gate_up", ranks=2)
    assert isinstance(
        weight(sharded(program, ranks=2), f"{LAYER}.mlp.experts.gate_up").recipe, Join
    )
    gate, up = np.split(whole, 2, axis=1)
    assert np.array_equal(first, np.concatenate([gate[:, :32], up[:, :32]], 1))
    assert np.array_equal(second, np.concatenate([gate[:, 32:], up[:, 32:]], 1))


def split_gate(*, is_read_whole: bool = False) -> ProgramDef:
    """Write a layer whose rows are taken apart, gate each other, and are read by another."""

    def write(g: GraphBuilder, x: Value) -> Value:
        joined = g.linear(x, "gate_up", 24, bias=True)
        if is_read_whole:
            g.output("other", g.linear(g.one("silu", joined), "beside", 8))
        gate, up = g.op("split", joined, sizes=(12, 12))
        made = g.one("mul", g.one("sigmoid", g.one("clamp", gate, low=None, high=3.0)), up)
        return g.linear(g.one("add", made, up), "down", 8)

    return small(write)


def test_rows_that_are_taken_apart_evenly_are_cut_in_each_section() -> None:
    program = split_gate()
    for name in ("gate_up.weight", "gate_up.bias"):
        whole, first, second = whole_and_parts(program, name, ranks=2)
        gate, up = np.split(whole, 2)
        assert np.array_equal(first, np.concatenate([gate[:6], up[:6]]))
        assert np.array_equal(second, np.concatenate([gate[6:], up[6:]]))
    graph = sharded(program, ranks=2).entries["run"]
    (split,) = (node for node in graph.nodes if node.op == "split")
    assert attrs_of(split)["sizes"] == (6, 6)


def test_rows_that_others_read_whole_are_not_cut_in_sections() -> None:
    view = sharded(split_gate(is_read_whole=True), ranks=2)
    assert weight(view, "gate_up.weight").shape == (24, 8)


def test_biases_of_experts_are_cut_as_their_features_and_added_once() -> None:
    family = FAMILY_OF["GptOssForCausalLM"]
    program = family.program(family.spec(SAMPLE), dtype="float32", limits=LIMITS)
    view = sharded(program, ranks=2)
    place = f"{LAYER}.mlp.experts"
    assert isinstance(weight(view, f"{place}.gate_up_proj.bias").recipe, Join)
    assert isinstance(weight(view, f"{place}.down_proj.bias").recipe, Once)


def test_rows_of_experts_are_combined_before_they_are_summed() -> None:
    graph = sharded(experts.program(llama.spec(), limits=LIMITS), ranks=2).entries["forward"]
    combined = {node.outputs[0] for node in graph.nodes if node.op == "combine"}
    summed = {node.inputs[0] for node in graph.nodes if node.op == "all_reduce"}
    assert combined < summed
    assert len(summed) == 2 * 2 + 1


def test_router_is_whole_on_every_rank() -> None:
    view = sharded(experts.program(llama.spec(), limits=LIMITS), ranks=2)
    assert weight(view, f"{LAYER}.mlp.gate.weight").shape == (5, 48)


def test_latents_are_whole_and_the_heads_that_read_them_are_cut() -> None:
    program = latent.program(llama.spec(), limits=LIMITS)
    view = sharded(program, ranks=2)
    assert view.states == program.states
    names = (f"{LAYER}.self_attn.{part}_proj.weight" for part in ("q_b", "kv_b", "o"))
    for name in names:
        assert isinstance(weight(view, name).recipe, Part)
    assert weight(view, f"{LAYER}.self_attn.kv_a_proj_with_mqa.weight").shape == (16, 48)


def test_what_an_op_of_whole_rows_reads_stays_whole() -> None:
    view = sharded(adapters.program(llama.spec(), limits=LIMITS), ranks=2)
    assert weight(view, f"{LAYER}.qkv_proj.weight").shape == (80, 48)
    assert view.state("kv").planes[0].shape == (2, 8)
    assert isinstance(weight(view, f"{LAYER}.mlp.up_proj.weight").recipe, Part)


def test_gate_stays_whole_where_what_it_gates_is_shown_outside() -> None:
    def write(g: GraphBuilder, x: Value) -> Value:
        up = g.linear(x, "up", 12)
        g.output("shown", up)
        gated = g.one("mul", g.one("silu", g.linear(x, "gate", 12)), up)
        return g.one("rms_norm", g.linear(gated, "down", 8), g.weight("norm", (8,)), eps=1e-5)

    view = sharded(small(write), ranks=2)
    assert weight(view, "gate.weight").shape == (12, 8)
    assert weight(view, "down.weight").shape == (8, 12)


def test_chain_of_three_layers_is_cut_once() -> None:
    def write(g: GraphBuilder, x: Value) -> Value:
        for name in ("first", "second", "third"):
            x = g.one("silu", g.linear(x, name, 8))
        return x

    view = sharded(small(write), ranks=2)
    assert ops(view.entries["run"])["all_reduce"] == 1
    shapes = [weight(view, f"{name}.weight").shape for name in ("first", "second", "third")]
    assert shapes == [(4, 8), (8, 4), (8, 8)]


def test_weight_that_two_layers_read_in_different_ways_stays_whole() -> None:
    def write(g: GraphBuilder, x: Value) -> Value:
        for _ in range(2):
            x = g.one("silu", g.linear(x, "same", 8))
        return x

    view = sharded(small(write), ranks=2)
    assert weight(view, "same.weight").shape == (8, 8)
    assert ops(view.entries["run"])["all_reduce"] == 0


def test_what_is_tied_to_such_a_weight_stays_whole_with_it() -> None:
    def write(g: GraphBuilder, x: Value) -> Value:
        gated = g.one("mul", g.one("silu", g.linear(x, "same", 12)), g.linear(x, "up", 12))
        down = g.linear(gated, "down", 8)
        g.output("shown", g.linear(down, "same", 12))
        return g.one("rms_norm", down, g.weight("norm", (8,)), eps=1e-5)

    view = sharded(small(write), ranks=2)
    shapes = [weight(view, f"{name}.weight").shape for name in ("same", "up", "down")]
    assert shapes == [(12, 8), (12, 8), (8, 12)]


def test_state_that_is_copied_is_cut_like_any_other() -> None:
    program = ProgramBuilder("copied", dtype="float32", symbols=LIMITS.symbols())
    forward(program.entry("forward"), llama.spec(), llama_layer, dtype="float32", limits=LIMITS)
    written = program.finish()
    writer = GraphWriter()
    rows = [writer.leaf("input", name, TensorType((Dim("R"),), "int32")) for name in ("from", "to")]
    kv = writer.leaf("state", "kv.0", StateType("kv", 0))
    writer.node("state_copy", (*rows, kv), (), attrs={}, scope="kv.0")
    copied = replace(written, entries={**written.entries, "copy": writer.finish()})
    assert sharded(copied, ranks=2).state("kv").planes[0].shape == (1, 8)


@pytest.mark.parametrize(
    ("spec", "ranks", "words"),
    [
        (llama.spec(), 4, "the 6 heads of .*q_proj.* over 4 ranks.*divides 6: 1, 2, 3, 6"),
        (replace(llama.spec(), heads=2), 4, "the 2 heads of .*q_proj.* over 4 ranks"),
        (llama.spec(), 3, "the 2 heads of .*k_proj.* over 3 ranks"),
        (
            replace(llama.spec(), kv_heads=6),
            3,
            "the 64 features that .*gate_proj.* makes .* over 3 ranks",
        ),
    ],
)
def test_what_cannot_be_shared_out_is_refused_with_its_numbers(
    spec: DecoderSpec, ranks: int, words: str
) -> None:
    with pytest.raises(OperatorError, match=words):
        sharded(toy(spec), ranks=ranks)


def test_merging_and_fusing_work_within_a_rank() -> None:
    better = optimised(sharded(toy(), ranks=2), one_step=True)
    merged = weight(better, f"{LAYER}.self_attn.q_proj+k_proj+v_proj.weight")
    assert merged.shape == (24 + 8 + 8, 48)
    assert ops(better.entries["step"])["silu_gate"] == 2
    assert ops(better.entries["step"])["rotary_kv_write"] == 2


def test_view_is_the_same_however_often_it_is_made() -> None:
    assert sharded(toy(), ranks=2).hash == sharded(toy(), ranks=2).hash != toy().hash


def test_recurrent_states_and_their_mixers_are_whole_on_every_rank() -> None:
    program = recurrent.program(llama.spec(), limits=LIMITS)
    view = sharded(program, ranks=2)
    assert view.state("memory") == program.state("memory")
    assert view.state("kv") != program.state("kv")
    name = f"{LAYER}.mixer.in_proj.weight"
    assert weight(view, name) == weight(program, name)
