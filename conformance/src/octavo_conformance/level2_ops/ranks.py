"""Ops of several ranks, each rank a process of its own: what a platform with ranks promises.

All checks are done by one set of processes, when the first case asks, and each case reads its
own verdicts. A platform on one rank promises nothing here.

Knows nothing of what the processes do (`octavo_conformance.ranked`).
"""

from __future__ import annotations

from octavo_conformance import ranked
from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.verdict import Failed, NotClaimed, insist
from octavo_platforms.tensor import DType


@promise_by_dtype(level=2, area="all_reduce")
def sums_over_ranks(bench: Bench, dtype: DType) -> None:
    """Within its tolerance, the same bits on each rank, and with a rank that has no tokens."""
    _insist(bench, ranked.sums, dtype)


@promise_by_dtype(level=2, area="all_gather")
def joins_over_ranks(bench: Bench, dtype: DType) -> None:
    """Along either axis, in the order of their numbers, to the bit."""
    _insist(bench, ranked.joins, dtype)


@promise_by_dtype(level=2, area="reduce_scatter")
def deals_sums_to_ranks(bench: Bench, dtype: DType) -> None:
    """Along either axis, each rank its own part."""
    _insist(bench, ranked.deals_sums, dtype)


@promise_by_dtype(level=2, area="all_to_all")
def exchanges_shares_with_ranks(bench: Bench, dtype: DType) -> None:
    """Every share and its counts arrive; what is not counted is not looked at."""
    _insist(bench, ranked.exchanges_shares, dtype)


@promise_by_dtype(level=2, area="send")
def carries_rows_to_another_rank(bench: Bench, dtype: DType) -> None:
    """What one rank's program sends, another's receives, in order."""
    _insist(bench, ranked.carries_to_one, dtype)


@promise_by_dtype(level=2, area="embedding_part")
def has_the_rows_of_its_rank_alone(bench: Bench, dtype: DType) -> None:
    """Its own rows to the bit, and zeros for those of others."""
    _insist(bench, ranked.looks_up_its_own_rows, dtype)


@promise_by_dtype(level=2, area="expert_part")
def leaves_other_ranks_their_experts(bench: Bench, dtype: DType) -> None:
    """Its own pairs to the bit; nobody's id and no weight for others and for padding."""
    _insist(bench, ranked.keeps_its_own_experts, dtype)


@promise_by_dtype(level=2, area="communicator")
def talks_to_ranks_outside_of_programs(bench: Bench, dtype: DType) -> None:
    """Every call of a communicator does what it says, on tensors that stay as they are."""
    _insist(bench, ranked.talks_by_itself, dtype)


def _insist(bench: Bench, check: ranked.Check, dtype: DType) -> None:
    """Insist that no rank found anything wrong, and that all have the same bits. Raises: Failed."""
    form = bench.platform.info.ranks
    if form != "process":
        raise NotClaimed(f"its ranks are '{form}', not a process for each device")
    told = bench.device.crew.told(ranked.id_of(check, dtype))
    for wrong, _, foreign in told:
        if wrong is not None:
            raise Failed(wrong)
        bench.foreign |= set(foreign)
    insist(len({digest for _, digest, _ in told}) == 1, "the ranks have different bits")
