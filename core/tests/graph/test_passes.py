"""The passes: what they find, and that the program stays the same program."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from octavo.graph.builder import ProgramBuilder
from octavo.graph.passes import composed, fused, merged, optimised
from octavo.models.decoder import Limits
from octavo.testing.drive import Running, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import bind, place
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.graph import Graph
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Join, Take
from octavo_platforms.specs import CompileSpec

LIMITS = Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=16)


def toy(*, attention_bias: bool = False, tied_embeddings: bool = True) -> ProgramDef:
    spec = llama.spec(attention_bias=attention_bias, tied_embeddings=tied_embeddings)
    return llama.program(spec, limits=LIMITS)


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph.nodes)


def as_written(program: ProgramDef, source: RandomWeights) -> Running:
    """Run a program on the oracle without any pass."""
    platform = Platform(OraclePlatform())
    context = platform.open_device((0,), DeviceSettings())
    binding = bind(program, platform, context)
    weights = place(program, binding, source, platform.make_memory(context))
    spec = CompileSpec(program=program, binding=binding, weights=weights, num_blocks={"kv": 64})
    return Running(platform.compile(spec, context), program, 64)


def test_projections_that_read_the_same_rows_become_one() -> None:
    before, after = toy(), merged(toy())
    assert ops(before.entries["forward"])["linear"] == 2 * 7 + 1
    assert ops(after.entries["forward"])["linear"] == 2 * 4 + 1
    qkv = next(w for w in after.weights if "q_proj+k_proj+v_proj" in w.name)
    assert qkv.shape == (6 * 8 + 2 * 2 * 8, 48)
    assert qkv.recipe == Join(
        tuple(Take(f"model.layers.0.self_attn.{part}_proj.weight") for part in "qkv")
    )


def test_biases_are_merged_with_their_weights() -> None:
    after = merged(toy(attention_bias=True))
    names = {weight.name for weight in after.weights}
    assert "model.layers.1.self_attn.q_proj+k_proj+v_proj.bias" in names
    assert "model.layers.1.self_attn.q_proj.bias" not in names


def test_a_tied_embedding_stays_one_weight() -> None:
    names = [weight.name for weight in merged(toy()).weights]
    assert names.count("model.embed_tokens.weight") == 1
    assert "lm_head.weight" not in names


def test_every_chain_of_the_family_is_fused() -> None:
    found = ops(fused(merged(toy())).entries["forward"])
    assert found["rotary_kv_write"] == 2
    assert found["silu_gate"] == 2
    assert found["add_rms_norm"] == 2 * 2 - 1
    assert found["rotary"] == found["kv_write"] == found["silu"] == found["mul"] == 0


def test_without_the_merge_gates_stay_what_they_were() -> None:
    assert ops(fused(toy()).entries["forward"])["silu_gate"] == 0


def test_step_runs_forward_then_sample() -> None:
    program = composed(toy(), "step", ("forward", "sample"))
    step = program.entries["step"]
    sizes = [len(program.entries[name].nodes) for name in ("forward", "sample")]
    assert len(step.nodes) == sum(sizes)
    assert [name for name, _ in step.outputs] == ["tokens"]
    assert "logits" not in {leaf.name for leaf in step.leaves}


def test_taps_of_an_entry_stay_outputs_of_the_step() -> None:
    made = ProgramBuilder("tapped", dtype="float32", symbols=LIMITS.symbols())
    first, second = made.entry("forward"), made.entry("sample")
    x = first.input("x", (4,), "float32")
    first.output("hidden@layers.0", first.one("silu", x))
    first.output("logits", first.one("add", x, x))
    logits = second.input("logits", (4,), "float32")
    second.output("tokens", second.one("silu", logits))
    step = composed(made.finish(), "step", ("forward", "sample")).entries["step"]
    assert {name for name, _ in step.outputs} == {"hidden@layers.0", "tokens"}


@pytest.mark.parametrize("attention_bias", [False, True])
@pytest.mark.parametrize("tied_embeddings", [False, True])
def test_passes_change_no_logit_beyond_rounding(
    attention_bias: bool, tied_embeddings: bool
) -> None:
    plain = toy(attention_bias=attention_bias, tied_embeddings=tied_embeddings)
    source = RandomWeights(plain)
    prompt = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 97, 9, 3, 2, 38, 4, 62]
    better = run_on(Platform(OraclePlatform()), plain, source)
    assert ops(better.definition.entries["forward"])["add_rms_norm"] > 0
    expected = as_written(plain, source).logits(prompt)
    np.testing.assert_allclose(better.logits(prompt), expected, rtol=1e-5, atol=1e-5)


def test_equal_programs_have_equal_hashes_and_others_do_not() -> None:
    assert optimised(toy(), one_step=True).hash == optimised(toy(), one_step=True).hash
    assert toy().hash != merged(toy()).hash != fused(merged(toy())).hash
