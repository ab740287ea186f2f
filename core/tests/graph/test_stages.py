"""Cutting a program into stages: each has its own weights and layers, and what crosses is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octavo.graph.passes.stages import staged
from octavo.testing.toys import llama
from octavo_platforms.graph import Graph, Node, attrs_of
from octavo_platforms.program import ProgramDef

SCOPES = ("model.layers.1", "model.layers.2")


def whole() -> ProgramDef:
    return llama.program(replace(llama.spec(tied_embeddings=False), layers=3))


def ops(graph: Graph, op: str) -> list[Node]:
    return [node for node in graph.nodes if node.op == op]


def test_every_weight_is_in_the_one_stage_that_reads_it() -> None:
    program = whole()
    names = [[weight.name for weight in staged(program, SCOPES, n).weights] for n in range(3)]
    assert sorted(name for stage in names for name in stage) == sorted(
        weight.name for weight in program.weights
    )
    for layer, stage in enumerate(names):
        assert f"model.layers.{layer}.mlp.up_proj.weight" in stage
    assert "model.embed_tokens.weight" in names[0]
    assert "lm_head.weight" in names[2]


def test_every_stage_keeps_its_own_layers_counted_from_nought() -> None:
    for stage in range(3):
        part = staged(whole(), SCOPES, stage)
        assert [state.layers for state in part.states] == [1]
        states = {leaf.name for graph in part.entries.values() for leaf in graph.leaves_of("state")}
        assert states == {"kv.0"}


def test_each_stage_sends_to_the_next_what_it_received_and_made_more_of() -> None:
    step = staged(whole(), SCOPES, 0).entries["step"]
    (sent,) = ops(step, "send")
    assert attrs_of(sent) == {"group": "stages", "ranks": 3, "to": 1}
    assert not ops(step, "recv")
    assert not step.outputs
    middle = staged(whole(), SCOPES, 1).entries["step"]
    (received,), (sent,) = ops(middle, "recv"), ops(middle, "send")
    assert (attrs_of(received)["source"], attrs_of(sent)["to"]) == (0, 2)
    assert middle.nodes[0] == received
    assert middle.nodes[-1] == sent
    assert received.outputs != sent.inputs
    last = staged(whole(), SCOPES, 2)
    assert set(last.entries) == set(whole().entries)
    for entry in ("forward", "forward_kept"):
        assert len(ops(last.entries[entry], "recv")) == 1
        assert not ops(last.entries[entry], "send")
    assert [name for name, _ in last.entries["forward"].outputs] == ["logits"]


def test_what_follows_from_inputs_is_made_again_and_not_sent() -> None:
    last = staged(whole(), SCOPES, 2).entries["forward"]
    assert [len(ops(last, op)) for op in ("positions", "slots", "rope_table")] == [1, 1, 1]
    assert not ops(last, "embedding")
    assert not ops(last, "pick")


def test_a_cut_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no entry"):
        staged(whole(), ["model.layers.7"], 0)
    with pytest.raises(ValueError, match="begin one after the other"):
        staged(whole(), SCOPES[::-1], 0)


def test_a_cut_through_what_are_no_rows_of_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="only rows of tokens are"):
        staged(whole(), ["model.norm"], 0)


def test_entries_that_differ_before_the_last_stage_are_refused() -> None:
    program, wider = whole(), llama.program(replace(llama.spec(), layers=3, eps=0.5))
    other = {"other": wider.entries["forward"]}
    with pytest.raises(ValueError, match="differ before their last stage"):
        staged(replace(program, entries={**program.entries, **other}), SCOPES, 0)
