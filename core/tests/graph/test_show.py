"""The plan's table: every node is counted, and why it runs where it does can be read."""

from __future__ import annotations

from octavo.graph.cost import Load
from octavo.graph.passes import optimised
from octavo.graph.show import columns, providers, table
from octavo.testing.toys import llama
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms import bind
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform

LOAD = Load(num_tokens=1, num_requests=1, context_tokens=32)


def test_layers_that_repeat_are_one_row_and_pieces_name_their_compound() -> None:
    program = optimised(llama.program(llama.spec()), one_step=False)
    platform = Platform(OraclePlatform())
    binding = bind(program, platform, platform.open_device((0,), DeviceSettings()))
    shown = table(program, binding, LOAD)
    rows = [line for line in shown.splitlines() if line.startswith("attention ")]
    assert len(rows) == 1
    assert " model.layers.*.self_attn " in rows[0]
    assert "piece of rotary_kv_write, which nobody claims" in shown
    assert "the oracle claims no compound" in shown
    nodes = sum(len(entry.graph.nodes) for entry in binding.entries.values())
    assert providers(binding) == f"octavo_conformance: {nodes} nodes"


def test_columns_of_numbers_end_at_the_same_place() -> None:
    assert columns([("a", "1"), ("bb", "10")], right=frozenset({1})) == "a    1\nbb  10"
