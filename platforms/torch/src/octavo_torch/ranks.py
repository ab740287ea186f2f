"""Ranks: processes with a device each, which talk over gloo.

    Rendezvous     where a process meets the others: a store of small notes
    TorchCommunicator    one group of them; connects at its first call

gloo moves what lies in host memory, so this serves devices whose memory is the host's. A
collective blocks until the peers have done their part; a send does not, unless several are
still on their way.

Knows nothing of programs or of which op wants what.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import BroadcastOptions, PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from octavo_platforms.errors import CannotStart, RankLost
from octavo_platforms.platform import DeviceTensor
from octavo_platforms.ranks import GroupSpec
from octavo_platforms.tensor import DType
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.memory import tensor_of
from octavo_torch.ops.rows import movable

ADDRESS = re.compile(r"tcp://[^/]+:\d+|file:///.+")
FORMS = "tcp://HOST:PORT or file:///PATH"
MAX_SENDS = 4


class Gloo(Protocol):
    """What is called of gloo; torch's own type of it names none of this."""

    def allreduce(self, tensors: Sequence[Tensor]) -> dist.Work:
        """Sum into the tensors."""
        ...

    def allgather(self, parts: Sequence[Sequence[Tensor]], own: Sequence[Tensor]) -> dist.Work:
        """Fill the parts, one a rank."""
        ...

    def alltoall_base(
        self, out: Tensor, own: Tensor, out_sizes: Sequence[int], own_sizes: Sequence[int]
    ) -> dist.Work:
        """Exchange parts of the first axis; without sizes, equal ones."""
        ...

    def broadcast(self, tensors: Sequence[Tensor], options: BroadcastOptions) -> dist.Work:
        """Fill the tensors with those of one rank."""
        ...

    def send(self, tensors: Sequence[Tensor], to: int, tag: int) -> dist.Work:
        """Send to one rank."""
        ...

    def recv(self, tensors: Sequence[Tensor], source: int, tag: int) -> dist.Work:
        """Fill the tensors with what one rank sent."""
        ...

    def barrier(self) -> dist.Work:
        """Be there when all are."""
        ...


class Rendezvous:
    """Where the ranks of one program meet. Connects when the first group does."""

    def __init__(self, address: str | None, *, rank: int, ranks: int) -> None:
        self._ranks = ranks
        self._address = address
        self._rank = rank
        self._store: Store | None = None
        self._times_met: Counter[str] = Counter()

    def notes(self, group: str, timeout: timedelta) -> Store:
        """Give the notes of a group, those of an earlier one of its name apart.

        Raises: CannotStart, without an address that can be used.
        """
        if self._store is None:
            self._store = self._connected(timeout)
        self._times_met[group] += 1
        return PrefixStore(f"{group}.{self._times_met[group]}", self._store)

    def _connected(self, timeout: timedelta) -> Store:
        address, rank, ranks = self._address or "", self._rank, self._ranks
        if ADDRESS.fullmatch(address) is None:
            raise CannotStart(f"{ranks} ranks cannot meet at '{address}'; give each one {FORMS}")
        try:
            found = rendezvous(address, rank, ranks, timeout=timeout)
            store: Store = next(found)[0]
        except (RuntimeError, ValueError, OSError) as error:
            raise CannotStart(
                f"rank {rank} of {ranks} cannot meet at {address}: {error}"
            ) from error
        return store


class TorchCommunicator:
    """One group, as one of its ranks talks to it."""

    def __init__(self, spec: GroupSpec, rendezvous: Rendezvous) -> None:
        self._spec = spec
        self._rendezvous = rendezvous
        self._group: Gloo | None = None
        self._is_closed = False
        self._sends: deque[tuple[dist.Work, Tensor]] = deque()

    @property
    def spec(self) -> GroupSpec:
        """Give the group."""
        return self._spec

    def all_reduce(self, tensor: DeviceTensor) -> DeviceTensor:
        """Sum over all ranks, in the tensor's own dtype."""
        found = _own(tensor)
        with self._talking() as group:
            group.allreduce([found]).wait()
        return DeviceTensor(found)

    def all_gather(self, tensor: DeviceTensor, axis: int) -> DeviceTensor:
        """Join all ranks' tensors along an axis."""
        x = _moved(tensor)
        parts = [torch.empty_like(x) for _ in self._spec.members]
        with self._talking() as group:
            group.allgather([parts], [x]).wait()
        return DeviceTensor(torch.cat(parts, axis).view(tensor_of(tensor).dtype))

    def reduce_scatter(self, tensor: DeviceTensor, axis: int) -> DeviceTensor:
        """Sum over all ranks; give the own part along an axis."""
        whole = tensor_of(self.all_reduce(tensor))
        return DeviceTensor(whole.chunk(self._spec.size, axis)[self._spec.number].contiguous())

    def all_to_all(self, tensor: DeviceTensor) -> DeviceTensor:
        """Send the i-th of equal parts to rank i; give what came."""
        x = _moved(tensor)
        found = torch.empty_like(x)
        with self._talking() as group:
            group.alltoall_base(found, x, [], []).wait()
        return DeviceTensor(found.view(tensor_of(tensor).dtype))

    def broadcast(self, tensor: DeviceTensor, source: int) -> DeviceTensor:
        """Give every rank the tensor of one."""
        found = movable(_own(tensor))
        options = BroadcastOptions()
        options.rootRank = source
        with self._talking() as group:
            group.broadcast([found], options).wait()
        return DeviceTensor(found.view(tensor_of(tensor).dtype))

    def send(self, tensor: DeviceTensor, to: int) -> None:
        """Send to one rank; waits for the oldest of several that are on their way."""
        x = movable(_own(tensor))
        with self._talking() as group:
            while len(self._sends) >= MAX_SENDS:
                self._sends.popleft()[0].wait()
            self._sends.append((group.send([x], to, 0), x))

    def recv(self, shape: tuple[int, ...], dtype: DType, source: int) -> DeviceTensor:
        """Wait for what one rank sent."""
        found = torch.empty(shape, dtype=TORCH_OF[dtype])
        with self._talking() as group:
            group.recv([movable(found)], source, 0).wait()
        return DeviceTensor(found)

    def barrier(self) -> None:
        """Wait until every rank is here."""
        with self._talking() as group:
            group.barrier().wait()

    def close(self) -> None:
        """Let go of the peers, once what was sent has left or nobody is there to take it."""
        self._is_closed = True
        if self._group is not None:
            with suppress(RankLost), self._talking():
                while self._sends:
                    self._sends.popleft()[0].wait()
        self._group = None

    @contextmanager
    def _talking(self) -> Iterator[Gloo]:
        try:
            yield self._met()
        except RuntimeError as error:
            spec = self._spec
            words = str(error).strip().splitlines()[0]
            raise RankLost(
                f"rank {spec.rank} of {len(spec.members)} lost a peer of the group '{spec.name}' "
                f"({words}); start all ranks again"
            ) from error

    def _met(self) -> Gloo:
        spec = self._spec
        if self._group is None:
            if self._is_closed:
                raise RuntimeError("this rank has closed the group")
            timeout = timedelta(seconds=spec.timeout_s)
            notes = self._rendezvous.notes(spec.name, timeout)
            gloo = dist.ProcessGroupGloo(notes, spec.number, spec.size, timeout)
            self._group = cast(Gloo, gloo)
        return self._group


def _moved(tensor: DeviceTensor) -> Tensor:
    """See a tensor in one piece, in a dtype that gloo moves."""
    return movable(tensor_of(tensor)).contiguous()


def _own(tensor: DeviceTensor) -> Tensor:
    """Copy a tensor in one piece, for gloo to write into."""
    return tensor_of(tensor).clone(memory_format=torch.contiguous_format)
