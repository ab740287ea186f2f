"""The program of a model without a graph: what is ours of it binds and costs as any other."""

from __future__ import annotations

from octavo.models.decoder import Limits
from octavo.models.foreign import foreign_program
from octavo_platforms import bind, discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.foreign import ForeignAttention, ForeignModel
from octavo_platforms.platform import Program
from octavo_platforms.specs import CompileSpec

LIMITS = Limits(max_step_tokens=8, max_requests=2, max_blocks=4, block_size=16)


def unread(spec: CompileSpec) -> Program:
    raise AssertionError("nobody loads here")


MODEL = ForeignModel(
    name="Own",
    words="a test",
    vocab_size=8,
    max_context_tokens=64,
    num_weights=100,
    attention=ForeignAttention(layers=3, num_heads=6, num_kv_heads=2, head_width=4, scale=0.25),
    load=unread,
)


def test_the_state_holds_every_layer_and_the_entry_is_written_once() -> None:
    program = foreign_program(MODEL, dtype="bfloat16", limits=LIMITS)
    (state,) = program.states
    assert (state.layers, state.block_size) == (3, 16)
    assert state.bytes_per_block == 3 * 16 * 2 * (2 * 4) * 2
    assert set(program.entries) - program.optional == {"tokens", "attend", "sample"}
    assert program.optional == {"sample_cut", "sample_shaped", "tell"}
    assert [node.op for node in program.entries["attend"].nodes] == [
        "positions",
        "slots",
        "kv_write",
        "attention",
    ]


def test_the_entry_gives_what_the_contract_promises_a_platform() -> None:
    graph = foreign_program(MODEL, dtype="float32", limits=LIMITS).entries["attend"]
    names = {leaf.name for leaf in graph.leaves_of("input")}
    assert names >= {"q", "k", "v", "token_ids", "query_starts", "computed", "block_table.kv"}
    types = {name: str(graph.types[value]) for name, value in graph.outputs}
    assert types == {"positions": "int32[T]", "attended": "float32[T, 6, 4]"}
    (state,) = graph.leaves_of("state")
    assert state.name == "kv.0"


def test_any_platform_can_bind_it() -> None:
    platform = discover.load("oracle")
    context = platform.open_device((0,), DeviceSettings())
    bound = bind(foreign_program(MODEL, dtype="float32", limits=LIMITS), platform, context)
    assert set(bound.entries) >= {"tokens", "attend", "sample"}
    assert set(bound.layouts) == {"kv"}
