"""The entry `copy`: every layer of every recurrent group, and nothing for other models."""

from __future__ import annotations

from dataclasses import replace

from octavo.graph.passes import with_copies
from octavo.models.decoder import Limits
from octavo.testing.toys import llama, recurrent
from octavo_platforms.graph import StateType

LIMITS = Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=16)


def test_copy_reaches_every_layer_of_a_recurrent_group() -> None:
    toy = recurrent.program(llama.spec(), limits=LIMITS)
    plain = {name: graph for name, graph in toy.entries.items() if name != "copy"}
    deep = [replace(s, layers=3) if s.kind == "recurrent" else s for s in toy.states]
    made = with_copies(replace(toy, entries=plain, states=tuple(deep)), most=2)
    graph = made.entries["copy"]
    touched = [graph.types[node.inputs[2]] for node in graph.nodes]
    assert touched == [StateType("memory", layer) for layer in range(3)]
    assert {leaf.name for leaf in graph.leaves_of("input")} == {
        "copy_from.memory",
        "copy_to.memory",
    }
    assert "copy" in made.optional


def test_a_model_without_recurrent_states_stays_as_it_is() -> None:
    program = llama.program(llama.spec(), limits=LIMITS)
    assert with_copies(program, most=2) is program
