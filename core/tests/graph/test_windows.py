"""Layers that see a few tokens back get a group of their own, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

from octavo.graph.passes import optimised, with_windows
from octavo.models.decoder import Limits
from octavo.testing.toys import draft, llama, windows
from octavo_platforms.graph import Graph, StateType, attrs_of
from octavo_platforms.program import ProgramDef

LIMITS = Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4)
GROUP = f"kv_{windows.WINDOW}"


def shape(program: ProgramDef) -> list[tuple[str, str, int, int | None]]:
    return [(state.name, state.kind, state.layers, state.window) for state in program.states]


def readers(graph: Graph) -> list[tuple[str, int, int | None, str]]:
    """Give each attention's group, layer, window and the name of its block table."""
    names = {leaf.value: leaf.name for leaf in graph.leaves}
    found = []
    for node in graph.nodes:
        if node.op == "attention":
            state = graph.types[node.inputs[4]]
            assert isinstance(state, StateType)
            window = attrs_of(node)["window"]
            assert window is None or isinstance(window, int)
            found.append((state.group, state.layer, window, names[node.inputs[3]]))
    return found


def test_a_layer_with_a_window_has_a_group_a_table_and_slots_of_its_own() -> None:
    program = with_windows(windows.program(replace(llama.spec(), layers=4), limits=LIMITS))
    assert shape(program) == [("kv", "paged", 2, None), (GROUP, "window", 2, windows.WINDOW)]
    graph = program.entries["forward"]
    assert readers(graph) == [
        (GROUP, 0, windows.WINDOW, f"block_table.{GROUP}"), ("kv", 0, None, "block_table.kv"),
        (GROUP, 1, windows.WINDOW, f"block_table.{GROUP}"), ("kv", 1, None, "block_table.kv"),
    ]  # fmt: skip
    tables = {leaf.name: leaf.value for leaf in graph.leaves if "block_table" in leaf.name}
    table_of = {node.outputs[0]: node.inputs[2] for node in graph.nodes if node.op == "slots"}
    for node in graph.nodes:
        if node.op == "kv_write":
            state = graph.types[node.inputs[3]]
            assert isinstance(state, StateType)
            assert table_of[node.inputs[2]] == tables[f"block_table.{state.group}"]


def test_every_node_and_output_stays_but_for_one_more_of_slots() -> None:
    written = windows.program(llama.spec(), limits=LIMITS)
    for name, graph in with_windows(written).entries.items():
        before = written.entries[name]
        is_forward = name.startswith("forward")
        ops = sorted(node.op for node in before.nodes)
        assert sorted(node.op for node in graph.nodes) == sorted([*ops, *["slots"] * is_forward])
        assert [each for each, _ in graph.outputs] == [each for each, _ in before.outputs]


def test_both_groups_go_through_all_other_passes() -> None:
    program = optimised(with_windows(windows.program(llama.spec(), limits=LIMITS)), one_step=True)
    fused = [
        graph_type.group
        for node in program.entries["step"].nodes
        if node.op == "rotary_kv_write"
        and isinstance(graph_type := program.entries["step"].types[node.inputs[5]], StateType)
    ]
    assert sorted(fused) == ["kv", GROUP]


def test_where_every_layer_sees_equally_far_the_group_keeps_its_name() -> None:
    program = with_windows(windows.program(replace(llama.spec(), layers=1), limits=LIMITS))
    assert shape(program) == [("kv", "window", 1, windows.WINDOW)]
    assert readers(program.entries["forward"]) == [("kv", 0, windows.WINDOW, "block_table.kv")]


def test_programs_without_windows_and_those_whose_lengths_the_device_makes_stay_whole() -> None:
    plain = llama.program(llama.spec(), limits=LIMITS)
    assert with_windows(plain).hash == plain.hash
    drafting = draft.program(llama.spec(), limits=LIMITS, layer=windows.layer)
    assert shape(with_windows(drafting)) == shape(drafting)
