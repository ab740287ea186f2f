"""The cost of an entry, held against numbers that can be computed by hand."""

from __future__ import annotations

from octavo.graph.cost import Cost, Load, costs
from octavo.graph.passes import merged
from octavo.models.decoder import Limits
from octavo.testing.toys import adapters, cross, experts, latent, llama, recurrent, windows

LIMITS = Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=16)


def test_a_linear_layer_costs_two_operations_for_each_weight_and_token() -> None:
    program = llama.program(llama.spec())
    forward = program.entries["forward"]
    load = Load(num_tokens=5, num_requests=1, context_tokens=5)
    counted = costs(forward, program, load)
    first = next(i for i, node in enumerate(forward.nodes) if node.op == "linear")
    assert counted[first] == Cost(2 * 5 * 48 * 48, 4 * (5 * 48 + 48 * 48 + 5 * 48))


def test_attention_reads_the_whole_context_of_every_request() -> None:
    program = llama.program(llama.spec())
    forward = program.entries["forward"]
    at = next(i for i, node in enumerate(forward.nodes) if node.op == "attention")

    def num_bytes(context_tokens: int) -> int:
        load = Load(num_tokens=3, num_requests=3, context_tokens=context_tokens)
        return costs(forward, program, load)[at].num_bytes

    slot = 2 * 2 * 8 * 4
    assert num_bytes(64) - num_bytes(48) == 3 * 16 * slot + 3 * 4  # one more block in each table


def test_merging_moves_fewer_bytes_and_computes_the_same() -> None:
    program = llama.program(llama.spec())
    better = merged(program)
    load = Load(num_tokens=8, num_requests=8, context_tokens=32)

    def linear(of: Cost, op: str) -> int:
        return of.flops if op == "linear" else 0

    def total(which: str) -> tuple[int, int]:
        chosen = program if which == "plain" else better
        graph = chosen.entries["forward"]
        counted = costs(graph, chosen, load)
        flops = sum(linear(c, n.op) for c, n in zip(counted, graph.nodes, strict=True))
        return flops, sum(c.num_bytes for c in counted)

    assert total("plain")[0] == total("merged")[0]
    assert total("merged")[1] < total("plain")[1]


def test_a_window_reads_no_more_than_it_sees() -> None:
    program = windows.program(llama.spec(), limits=LIMITS)
    forward = program.entries["forward"]
    load = Load(num_tokens=3, num_requests=3, context_tokens=64)
    counted = costs(forward, program, load)
    seen, whole = (c for c, n in zip(counted, forward.nodes, strict=True) if n.op == "attention")
    assert seen.flops * 64 == whole.flops * windows.WINDOW
    slot = 2 * 2 * 8 * 4
    assert whole.num_bytes - seen.num_bytes == 3 * (64 - windows.WINDOW) * slot


def test_experts_compute_their_rows_and_read_at_most_one_weight_a_row() -> None:
    program = experts.program(llama.spec(), limits=LIMITS)
    forward = program.entries["forward"]
    at = next(i for i, node in enumerate(forward.nodes) if node.op == "grouped_linear")

    def cost(num_tokens: int) -> Cost:
        load = Load(num_tokens=num_tokens, num_requests=1, context_tokens=num_tokens)
        return costs(forward, program, load)[at]

    rows, weight, counts = 2, 128 * 48, 4 * experts.NUM_EXPERTS
    assert cost(1).flops == 2 * rows * weight
    assert cost(1).num_bytes == 4 * (rows * (48 + 128) + rows * weight) + counts
    assert cost(8).num_bytes == 4 * (8 * rows * (48 + 128) + 5 * weight) + counts


def test_an_adapter_costs_its_rank() -> None:
    program = adapters.program(llama.spec(), limits=LIMITS)
    forward = program.entries["forward"]
    at = next(i for i, node in enumerate(forward.nodes) if node.op == "lora_delta")
    load = Load(num_tokens=6, num_requests=2, context_tokens=3)
    assert costs(forward, program, load)[at].flops == 2 * 6 * adapters.RANK * (48 + 48)


def test_attention_over_latents_costs_the_form_that_is_less() -> None:
    program = latent.program(llama.spec(), limits=LIMITS)
    forward = program.entries["forward"]
    at = next(i for i, node in enumerate(forward.nodes) if node.op == "latent_attention")

    def cost(num_tokens: int, context_tokens: int) -> Cost:
        load = Load(num_tokens=num_tokens, num_requests=1, context_tokens=context_tokens)
        return costs(forward, program, load)[at]

    heads, by_weight = 6, latent.RANK * (latent.PLAIN + latent.VALUE)
    row, narrow = latent.RANK + latent.ROPE, latent.PLAIN + latent.ROPE + latent.VALUE
    absorbed = 64 * (latent.RANK + row) + by_weight
    assert cost(1, 64).flops == 2 * heads * absorbed
    expanded = 64 * (64 * narrow + by_weight)
    assert cost(64, 64).flops == 2 * heads * expanded
    assert expanded < 64 * absorbed
    table = 4  # one more block in it
    assert cost(1, 64).num_bytes - cost(1, 48).num_bytes == 16 * row * 4 + table


def test_cross_attention_reads_a_source_of_every_request_whatever_is_new() -> None:
    toy, load = llama.spec(), Load(num_tokens=5, num_requests=3, context_tokens=40)
    limits = Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=16)
    program = cross.program(toy, limits=limits)
    graph = program.entries["forward"]
    found = [
        cost
        for node, cost in zip(graph.nodes, costs(graph, program, load), strict=True)
        if node.op == "cross_attention"
    ]
    rows, slot = 5 * toy.heads * toy.head_width, 2 * toy.kv_heads * toy.head_width * 4
    causes = (3 + 1 + 3 + 3 * cross.MAX_SOURCE_BLOCKS) * 4
    assert found == [Cost(4 * rows * 40, 2 * rows * 4 + 3 * 40 * slot + causes)] * toy.layers


def test_a_recurrent_state_costs_its_rows_however_long_the_context_is() -> None:
    program = recurrent.program(llama.spec(), limits=LIMITS)
    forward = program.entries["forward"]
    at = next(i for i, node in enumerate(forward.nodes) if node.op == "selective_scan")

    def cost(num_tokens: int, context_tokens: int) -> Cost:
        load = Load(num_tokens=num_tokens, num_requests=3, context_tokens=context_tokens)
        return costs(forward, program, load)[at]

    assert cost(3, 16) == cost(3, 64)
    state = recurrent.HEADS * recurrent.WIDTH * recurrent.NUMBERS
    assert cost(3, 16).flops == 2 * 3 * 3 * state
    operands = 2 * recurrent.INNER + recurrent.HEADS + 2 * recurrent.SHARED
    causes = 4 * (2 * recurrent.HEADS + 4 + 3 + 3)
    assert cost(3, 16).num_bytes == 4 * 3 * operands + causes + 2 * 3 * 4 * state
