"""Ranks: devices that run one program together, each its own part of it.

    open_device(settings: rank, ranks, rendezvous)      this process's place among all
    make_communicator(GroupSpec) ─> Communicator        some ranks that talk, such as "tp"
    bind(program, ..., communicators)                   collectives close over theirs
    place(program, ..., rank_of)                        each weight: the own part

A program is the local view of one rank and equal on all of them. What differs (which part
of a weight, which rows of a table) a recipe or a kernel takes from the rank's own number in a
group. Every rank makes the same launches in the same order; an empty one counts.

Knows nothing of how bytes travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from octavo_platforms.platform import DeviceTensor
from octavo_platforms.tensor import DType


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """Some ranks that talk to one another, as one of them sees it.

    `members` are ranks of the whole, the same tuple on each; `rank` is the one that asks. They
    meet where their devices were opened to meet (`DeviceSettings.rendezvous`), under `name`.

    Units: `timeout_s` is how long a rank waits for its peers before it gives up.
    """

    name: str
    members: tuple[int, ...]
    rank: int
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if len(set(self.members)) != len(self.members) or self.rank not in self.members:
            raise ValueError(f"rank {self.rank} cannot be in the group '{self.name}' as {self}")

    @property
    def size(self) -> int:
        """Count the members."""
        return len(self.members)

    @property
    def number(self) -> int:
        """Give this rank's own number in the group, from 0."""
        return self.members.index(self.rank)


class Communicator(Protocol):
    """A group of ranks, as one of them talks to it: device tensors in and out.

    Making one meets nobody, so that a plan needs no peers; the first call does. All members make
    the same calls in the same order, and no call changes its argument. Peers are named by their
    numbers in the group. `all_reduce` and `reduce_scatter` give every rank the same bits.

    Raises, in every call that waits for peers: RankLost.
    """

    @property
    def spec(self) -> GroupSpec:
        """Give the group."""
        ...

    def all_reduce(self, tensor: DeviceTensor) -> DeviceTensor:
        """Sum over all ranks."""
        ...

    def all_gather(self, tensor: DeviceTensor, axis: int) -> DeviceTensor:
        """Join all ranks' tensors, of equal shapes, along an axis, by their numbers."""
        ...

    def reduce_scatter(self, tensor: DeviceTensor, axis: int) -> DeviceTensor:
        """Sum over all ranks; give the own one of the equal parts along an axis."""
        ...

    def all_to_all(self, tensor: DeviceTensor) -> DeviceTensor:
        """Send the i-th of equal parts of the first axis to rank i; give what came, by sender."""
        ...

    def broadcast(self, tensor: DeviceTensor, source: int) -> DeviceTensor:
        """Give every rank the tensor of one; the others bring one of its shape and dtype."""
        ...

    def send(self, tensor: DeviceTensor, to: int) -> None:
        """Send to one rank. Does not wait for it to receive, unless much is on its way."""
        ...

    def recv(self, shape: tuple[int, ...], dtype: DType, source: int) -> DeviceTensor:
        """Wait for what one rank sent; what it sends arrives in order."""
        ...

    def barrier(self) -> None:
        """Wait until every rank is here."""
        ...

    def close(self) -> None:
        """Let go of the peers. Closing twice does nothing."""
        ...
