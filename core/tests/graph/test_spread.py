"""Sharing experts out over ranks: what each rank has, and what is told between them."""

from __future__ import annotations

from octavo.graph.passes import optimised
from octavo.graph.passes.spread import spread
from octavo.models.decoder import Limits
from octavo.testing.toys import experts, llama
from octavo_platforms.graph import Dim, Graph, TensorType, attrs_of
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import Part

RANKS = 2
TALK = ["all_gather", "all_gather", "expert_part", "all_gather", "reduce_scatter"]


def whole() -> ProgramDef:
    limits = Limits(max_step_tokens=16, max_requests=4, max_blocks=8, block_size=4)
    return experts.program(llama.spec(), limits=limits)


def told(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes if "ranks" in attrs_of(node)]


def test_a_rank_has_its_share_of_the_experts_filled_up_and_all_of_everything_else() -> None:
    before = {weight.name: weight for weight in whole().weights}
    after = {weight.name: weight for weight in spread(whole(), ranks=RANKS).weights}
    assert before.keys() == after.keys()
    cut = [name for name, weight in after.items() if weight != before[name]]
    assert cut == [name for name in before if ".experts." in name]
    for name in cut:
        num_experts, *rest = before[name].shape
        assert num_experts == 5
        assert after[name].shape == (3, *rest)
        assert after[name].recipe == Part(before[name].recipe, 0, RANKS, RANKS, "ep")


def test_tokens_go_round_once_in_each_layer_and_come_back_as_they_were() -> None:
    graph = spread(whole(), ranks=RANKS).entries["forward"]
    assert told(graph) == TALK * 2
    dealt = [node for node in graph.nodes if node.op == "reduce_scatter"]
    assert [graph.types[node.outputs[0]] for node in dealt] == [
        TensorType((Dim("T"), 48), "float32")
    ] * 2
    assert {leaf.name for leaf in graph.leaves_of("input")} >= {"rank_tokens"}


def test_a_step_of_a_rank_goes_through_the_other_passes() -> None:
    step = optimised(spread(whole(), ranks=RANKS), one_step=True).entries["step"]
    assert told(step) == TALK * 2


def test_without_other_ranks_or_experts_nothing_changes() -> None:
    assert spread(whole(), ranks=1).hash == whole().hash
    plain = llama.program(llama.spec())
    assert spread(plain, ranks=RANKS).hash == plain.hash
