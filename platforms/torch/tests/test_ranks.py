"""Ranks over gloo: two in one process, each on its own thread, and what becomes of a lost one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import CannotStart, RankLost
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceTensor
from octavo_platforms.ranks import Communicator, GroupSpec

RANKS = 2
Work = Callable[[Communicator], object]


def group(
    platform: Platform, meeting: str | None, rank: int, *, timeout_s: float = 60.0
) -> Communicator:
    settings = DeviceSettings(rank=rank, ranks=RANKS, rendezvous=meeting)
    spec = GroupSpec(name="tp", members=(0, 1), rank=rank, timeout_s=timeout_s)
    return platform.make_communicator(spec, platform.open_device((0,), settings))


def together(platform: Platform, meeting: str, *works: Work) -> Sequence[object]:
    groups = [group(platform, meeting, rank) for rank in range(RANKS)]
    with ThreadPoolExecutor(RANKS) as pool:
        found = [pool.submit(work, each) for work, each in zip(works, groups, strict=True)]
        return [each.result() for each in found]


def test_groups_of_one_name_are_met_one_after_the_other(platform: Platform, tmp_path: Path) -> None:
    meeting = f"file://{tmp_path / 'meeting'}"

    def twice(rank: int) -> list[float]:
        settings = DeviceSettings(rank=rank, ranks=RANKS, rendezvous=meeting)
        context = platform.open_device((0,), settings)
        spec = GroupSpec(name="tp", members=(0, 1), rank=rank, timeout_s=60.0)
        totals = []
        for _ in range(2):
            made = platform.make_communicator(spec, context)
            total = made.all_reduce(DeviceTensor(torch.ones(1)))
            assert isinstance(total, torch.Tensor)
            totals.append(float(total))
            made.close()
            made.close()
        return totals

    with ThreadPoolExecutor(RANKS) as pool:
        assert list(pool.map(twice, range(RANKS))) == [[2.0, 2.0], [2.0, 2.0]]


def test_what_is_sent_arrives_in_order_however_much_is_on_its_way(
    platform: Platform, tmp_path: Path
) -> None:
    def first(talk: Communicator) -> None:
        for number in range(12):
            talk.send(DeviceTensor(torch.full((3,), float(number))), 1)
        talk.close()

    def second(talk: Communicator) -> list[float]:
        found = [talk.recv((3,), "float32", 0) for _ in range(12)]
        return [float(each[0]) for each in found if isinstance(each, torch.Tensor)]

    _, received = together(platform, f"file://{tmp_path / 'meeting'}", first, second)
    assert received == [float(number) for number in range(12)]


def test_peer_that_left_is_named_as_lost(platform: Platform, tmp_path: Path) -> None:
    def leave(talk: Communicator) -> None:
        talk.barrier()
        talk.close()

    def stay(talk: Communicator) -> str:
        talk.barrier()
        with pytest.raises(RankLost) as lost:
            talk.all_reduce(DeviceTensor(torch.ones(4)))
        talk.close()
        return str(lost.value)

    _, words = together(platform, f"file://{tmp_path / 'meeting'}", leave, stay)
    assert "rank 1 of 2 lost a peer of the group 'tp'" in str(words)


def test_group_meets_nobody_before_it_is_talked_to(platform: Platform) -> None:
    made = group(platform, None, 0)
    assert made.spec.size == RANKS
    with pytest.raises(CannotStart, match="2 ranks cannot meet at ''"):
        made.barrier()
    made.close()


@pytest.mark.parametrize("address", ["localhost:80", "tcp://localhost", "file://here", "env://"])
def test_address_that_nobody_can_meet_at_is_refused(platform: Platform, address: str) -> None:
    with pytest.raises(CannotStart, match="tcp://HOST:PORT or file:///PATH"):
        group(platform, address, 0).barrier()


def test_rank_that_waits_for_nobody_gives_up(platform: Platform, tmp_path: Path) -> None:
    alone = group(platform, f"file://{tmp_path / 'meeting'}", 0, timeout_s=0.2)
    with pytest.raises(RankLost, match="rank 0 of 2"):
        alone.barrier()


def test_closed_group_is_talked_to_no_more(platform: Platform) -> None:
    made = group(platform, "file:///nowhere", 0)
    made.close()
    with pytest.raises(RankLost, match="has closed the group"):
        made.barrier()
