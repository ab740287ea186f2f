"""What a platform says of itself: facts that a test can falsify.

A capability that is not promised is neither tested nor used. Knows nothing of kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from octavo_platforms.tensor import DType

RankForm = Literal["single", "process", "mesh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformInfo:
    """A platform's identity and promises; pure data, given without opening anything.

    `extends` names a platform whose implementations stand behind this one's. `claims` are
    promises by name: "step" says that it runs `forward` and `sample` as one entry;
    "batch_invariant" that it can be opened so that no token's bits depend on its batch.
    `max_in_flight` is how many steps may be unread at once: 1 where a launch is over when it
    returns, since nothing would overlap. `block_size` is the number of
    slots in a block that its kernels prefer. `host_memory` says that the device's memory is
    the machine's own. `standing` is how its path was proved: run,
    emulated, interpreted, traced or compiled. `ranks` is the form in which several devices run
    one program: "single" says that they cannot, "process" that each has a process of its own,
    "mesh" that one process opens all.
    """

    name: str
    device: str
    vendor: str
    dtypes: tuple[DType, ...]
    extends: str | None = None
    claims: frozenset[str] = frozenset()
    max_in_flight: int = 1
    block_size: int = 16
    host_memory: bool = False
    standing: str = "run"
    ranks: RankForm = "single"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a platform finds a device here, and why it says so.

    `priority` orders platforms when the user named none; 0 is never chosen unasked.
    """

    found: bool
    words: str
    priority: int


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device, as seen without opening it."""

    index: int
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """How to open devices. `mode` is what follows the colon of `--device NAME:MODE`.

    `batch_invariant` asks for kernels that give a token the same bits in every batch, chunk
    and step; only platforms that claim it are asked.

    Where each device has a process of its own, `rank` is this one's of `ranks`, and all meet at
    `rendezvous`: "tcp://HOST:PORT", which rank 0 listens on, or "file:///PATH", a file that is
    not there yet, for ranks of one machine. None is for who will not meet, such as a plan.
    """

    mode: str | None = None
    threads: int | None = None
    batch_invariant: bool = False
    rank: int = 0
    ranks: int = 1
    rendezvous: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Memory of an opened device. Units: bytes."""

    total_bytes: int
    free_bytes: int
