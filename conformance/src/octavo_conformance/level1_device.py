"""Level 1, the device: opening it, and memory that keeps what it is given, to the bit.

Knows nothing of ops.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import same
from octavo_conformance.verdict import Failed, NotClaimed, insist
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import CannotStart
from octavo_platforms.ranks import GroupSpec
from octavo_platforms.tensor import DTYPES, Array, DType, HostTensor, storage

FAR_INDEX = 4096
LARGE_BYTES = 64 << 20
OWN_PAGES = Path("/proc/self/statm")


@promise(level=1, area="device")
def opens_again_after_closing_twice(bench: Bench) -> None:
    """Closing gives everything back, closing twice does nothing, opening again works."""
    for _ in range(2):
        context = bench.platform.open_device((0,), DeviceSettings(bench.subject.mode))
        insist(len(context.devices) == 1, f"one device was asked for, {context.devices} opened")
        context.close()
        context.close()


@promise(level=1, area="device")
def lists_its_devices_in_order(bench: Bench) -> None:
    """discover_devices names at least one device, numbers them from 0, opens none."""
    devices = bench.platform.discover_devices()
    indices = [device.index for device in devices]
    insist(len(devices) > 0, "it was found, but lists no device")
    insist(indices == list(range(len(devices))), f"devices are numbered {indices}")
    insist(all(device.name for device in devices), "a device has no name")


@promise(level=1, area="device")
def refuses_a_device_that_is_not_there_in_words(bench: Bench) -> None:
    """Opening a device out of range is CannotStart, and the message names the number."""
    try:
        context = bench.platform.open_device((FAR_INDEX,), DeviceSettings(bench.subject.mode))
    except CannotStart as refusal:
        insist(str(FAR_INDEX) in str(refusal), f"'{refusal}' does not name device {FAR_INDEX}")
        return
    context.close()
    raise Failed(f"device {FAR_INDEX} was opened")


@promise(level=1, area="device")
def opens_as_one_of_several_ranks_without_meeting_them(bench: Bench) -> None:
    """A plan needs no peers: opening a rank and making a group wait for nobody."""
    form, mode = bench.platform.info.ranks, bench.subject.mode
    if form != "process":
        raise NotClaimed(f"its ranks are '{form}', not a process for each device")
    context = bench.platform.open_device((0,), DeviceSettings(mode, rank=1, ranks=2))
    spec = GroupSpec(name="tp", members=(0, 1), rank=1)
    group = bench.platform.make_communicator(spec, context)
    insist(group.spec == spec, f"{spec} was asked for, {group.spec} made")
    group.close()
    group.close()
    context.close()


@promise_by_dtype(level=1, area="memory", dtypes=DTYPES)
def gives_back_every_bit(bench: Bench, dtype: DType) -> None:
    """A tensor goes to the device and back unchanged, whatever its bits mean."""
    for shape in ((256,), (3, 5, 7), (1,), (0, 4), ()):
        sent = HostTensor(_any_bits(shape, dtype), dtype)
        same(f"{dtype}{list(shape)}", bench.memory.to_host(bench.memory.to_device(sent)), sent)


@promise_by_dtype(level=1, area="memory", dtypes=DTYPES)
def gives_zeros(bench: Bench, dtype: DType) -> None:
    """New memory is zero, even where another tensor has just been."""
    used = bench.memory.to_device(HostTensor(_any_bits((64, 64), dtype), dtype))
    bench.memory.free(used)
    found = bench.memory.to_host(bench.memory.alloc((64, 64), dtype))
    same("new memory", found, HostTensor(np.zeros((64, 64), storage(dtype)), dtype))


@promise(level=1, area="memory")
def owns_what_it_was_given(bench: Bench) -> None:
    """Overwriting the host's array, sent or received, changes nothing on the device."""
    array = np.arange(1024, dtype=np.float32)
    kept = bench.memory.to_device(HostTensor(array, "float32"))
    array[...] = -1
    expected = HostTensor(np.arange(1024, dtype=np.float32), "float32")
    received = bench.memory.to_host(kept)
    same("after the sender overwrote its array", received, expected)
    if received.array.flags.writeable:
        received.array[...] = -2
    same("after the receiver overwrote its array", bench.memory.to_host(kept), expected)


@promise(level=1, area="memory")
def takes_arrays_that_are_not_contiguous(bench: Bench) -> None:
    """A view with strides arrives as the elements it shows."""
    view = np.arange(60, dtype=np.float32).reshape(6, 10).T[::2]
    found = bench.memory.to_host(bench.memory.to_device(HostTensor(view, "float32")))
    same("a strided view", found, HostTensor(np.ascontiguousarray(view), "float32"))


@promise(level=1, area="memory")
def loses_no_memory(bench: Bench) -> None:
    """What was freed can be used again: eight rounds leave as much free as two."""
    stats = bench.memory.stats()
    insist(0 <= stats.free_bytes <= stats.total_bytes, f"impossible figures: {stats}")
    ones = HostTensor(np.ones(LARGE_BYTES, np.uint8), "uint8")
    taken_after = []
    for _ in range(10):
        bench.memory.free(bench.memory.to_device(ones))
        taken_after.append(_taken_bytes(bench))
    lost = taken_after[-1] - taken_after[1]
    insist(lost < 4 * LARGE_BYTES, f"{lost} bytes are gone after eight rounds of {LARGE_BYTES}")


def _taken_bytes(bench: Bench) -> int:
    """Tell how much memory is taken.

    Where it is the host's, by this process alone, if the system tells: others take and give too.
    """
    if bench.platform.info.host_memory and OWN_PAGES.exists():
        return int(OWN_PAGES.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    stats = bench.memory.stats()
    return stats.total_bytes - stats.free_bytes


@promise(level=1, area="memory")
def counts_what_it_holds(bench: Bench) -> None:
    """While large tensors are held, less is free, where the memory is the device's own."""
    if bench.platform.info.host_memory:
        raise NotClaimed("its memory is the host's, which other processes take and give as well")
    ones = HostTensor(np.ones(LARGE_BYTES, np.uint8), "uint8")
    changes = []
    for _ in range(3):
        bench.memory.free(bench.memory.to_device(ones))
        before = bench.memory.stats().free_bytes
        held = [bench.memory.to_device(ones) for _ in range(4)]
        changes.append(before - bench.memory.stats().free_bytes)
        for tensor in held:
            bench.memory.free(tensor)
        if changes[-1] >= LARGE_BYTES:
            return
    raise Failed(f"holding {4 * LARGE_BYTES} bytes changed what is free by {changes}")


def _any_bits(shape: tuple[int, ...], dtype: DType) -> Array:
    """Give each bit pattern a chance: not-a-number, infinities and negative zero among them."""
    kind = storage(dtype)
    size = int(np.prod(shape))
    if dtype == "bool":
        every_third: Array = np.equal(np.arange(size).reshape(shape) % 3, 0)
        return every_third
    random = np.random.Generator(np.random.Philox(size))
    found: Array = random.integers(0, 256, size * kind.itemsize, np.uint8).view(kind).reshape(shape)
    return found
