"""The device itself: what it refuses, what it counts, what it takes for the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from octavo_emulated import emulated
from octavo_emulated.emulator import Emulator
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Memory
from octavo_platforms.tensor import HostTensor

Use = Callable[[Tensor], object]

MIXTURES: list[Callable[[Tensor, Tensor], object]] = [
    lambda ours, theirs: ours + theirs,
    lambda ours, theirs: torch.cat((ours, theirs)),
    lambda ours, theirs: ours @ theirs.T,
    lambda ours, theirs: ours.index_select(0, theirs[0].int()),
]
WAITS: list[tuple[str, Use]] = [
    ("item", lambda x: x.sum().item()),
    ("item", lambda x: bool((x > 1).any())),
    ("nonzero", lambda x: x.nonzero()),
    ("by a mask|nonzero", lambda x: x[x > 1]),
    ("by a mask|nonzero", lambda x: x.index_put_((x > 1,), torch.zeros(1, device=x.device))),
    ("masked_select", lambda x: x.masked_select(x > 1)),
    ("bincount", lambda x: x.int().view(-1).bincount()),
    ("copy to the host", lambda x: x.cpu()),
    ("copy to the host", lambda x: torch.empty(x.shape).copy_(x)),
    ("copy from the host, blocking", lambda x: torch.ones(2).to(x.device)),
]
OTHERS: list[Use] = [
    lambda x: x * 3,
    lambda x: x + 2,
    lambda x: x.double() * 2,
    lambda x: x[:1] * 2,
    lambda x: (x * 2) * 2,
]


@pytest.fixture
def x(device: torch.device) -> Tensor:
    return torch.arange(6.0).view(2, 3).to(device)


@pytest.fixture
def memory(emulator: Emulator) -> Memory:
    platform = Platform(emulated())
    return platform.make_memory(platform.open_device((0,), DeviceSettings()))


@pytest.mark.parametrize("mixture", MIXTURES)
def test_tensors_of_two_devices_do_not_mix(
    x: Tensor, mixture: Callable[[Tensor, Tensor], object]
) -> None:
    mixture(x, x.clone().clamp(max=1))
    with pytest.raises(RuntimeError, match="device"):
        mixture(x, torch.ones(2, 3))


def test_seeding_torch_does_not_stumble_over_the_device(x: Tensor) -> None:
    torch.manual_seed(int(x.shape[0]))  # a warning would be an error


def test_a_number_of_the_host_may_stand_beside_a_tensor(x: Tensor) -> None:
    assert (x + torch.tensor(1.0)).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(("name", "wait"), WAITS)
def test_waiting_inside_a_launch_is_refused_by_name_and_outside_allowed(
    emulator: Emulator, x: Tensor, name: str, wait: Use
) -> None:
    wait(x.clone())
    given = x.clone()
    with emulator.launch(), pytest.raises(RuntimeError, match=f"({name}).*inside a launch"):
        wait(given)
    wait(x.clone())


def test_equal_launches_have_one_signature(emulator: Emulator, x: Tensor) -> None:
    signatures = set()
    for given in (x, x + 5, x.clone()):
        with emulator.launch() as seen:
            given.mul(2).softmax(-1)
        signatures.add(seen.signature)
        assert seen.num_ops == 2
    assert len(signatures) == 1


@pytest.mark.parametrize("other", OTHERS)
def test_another_op_shape_dtype_or_number_is_another_signature(
    emulator: Emulator, x: Tensor, other: Use
) -> None:
    signatures = set()
    uses: tuple[Use, ...] = (lambda each: each * 2, other)
    for use in uses:
        with emulator.launch() as seen:
            use(x)
        signatures.add(seen.signature)
    assert len(signatures) == 2


def test_copies_from_the_host_are_counted(emulator: Emulator, device: torch.device) -> None:
    with emulator.launch() as seen:
        torch.ones(2).to(device, non_blocking=True)
        torch.zeros(2, device=device)
        torch.ones(3).to(device, non_blocking=True)
    assert seen.num_uploads == 2


def test_a_launch_may_send_to_the_host_what_the_device_writes_by_itself(
    emulator: Emulator, x: Tensor
) -> None:
    room, before = torch.empty(2, 3, pin_memory=True), emulator.num_waits
    with emulator.launch():
        room.copy_(x, non_blocking=True)
    assert room.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert emulator.num_waits == before
    x.cpu()
    assert emulator.num_waits == before + 1


def test_memory_that_is_not_there_is_an_error_with_the_numbers(
    limit: Emulator, memory: Memory
) -> None:
    used = limit.stats().total_bytes - limit.stats().free_bytes
    limit.set_memory_limit(used + 4096)
    too_large = HostTensor(np.zeros((3, 1000), np.float32), "float32")
    asks: tuple[Callable[[], object], ...] = (
        lambda: memory.alloc((3, 1000), "float32"),
        lambda: memory.to_device(too_large),
    )
    for ask in asks:
        with pytest.raises(MemoryError, match=r"float32\[3, 1000\] takes 12000 bytes, and 4096"):
            ask()
    kept = memory.alloc((1000,), "float32")
    with pytest.raises(MemoryError):
        memory.alloc((1000,), "float32")
    memory.free(kept)
    memory.alloc((1000,), "float32")
