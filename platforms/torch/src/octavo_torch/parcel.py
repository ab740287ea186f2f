"""Parcels: host arrays that go to the device together.

A copy to a device costs the same for one small array as for ten, so a launch packs its inputs
and what its kernels prepared into one run of bytes, sends that, and sees the tensors in it.

    token_ids | query_starts | ... | prepared arrays  ──one copy──>  views of the right dtype

The host does not wait for it: a copy that blocks would stand behind the launches that are
queued. On the host's own memory there is nothing to save: each array is copied by itself.

Knows nothing of what the arrays mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from octavo_platforms.tensor import Array, DType, storage
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.memory import from_host

ALIGNMENT_BYTES = 64

Cargo = tuple[Array, DType]


@dataclass(frozen=True, slots=True)
class Parcel:
    """Host arrays on their way, and what becomes of them on the device.

    A kernel's `prepare` may give one: its `run` then gets what `unpack` made, once a step.
    """

    cargo: tuple[Cargo, ...]
    unpack: Callable[[Sequence[torch.Tensor]], object]


def one(array: Array, dtype: DType) -> Parcel:
    """Pack one array, which becomes one tensor."""
    return Parcel(((array, dtype),), _only)


def delivered(values: Mapping[int, object], device: torch.device) -> dict[int, object]:
    """Send all parcels among values, and give each value as it is on the device."""
    found = dict(values)
    parcels = {place: value for place, value in values.items() if isinstance(value, Parcel)}
    tensors = sent([each for parcel in parcels.values() for each in parcel.cargo], device)
    for place, parcel in parcels.items():
        found[place] = parcel.unpack([next(tensors) for _ in parcel.cargo])
    return found


def sent(cargo: Sequence[Cargo], device: torch.device) -> Iterator[torch.Tensor]:
    """Copy arrays to a device, elsewhere than on the host in one copy."""
    if device.type == "cpu":
        return (from_host(array, dtype, device) for array, dtype in cargo)
    starts, end = [], 0
    for array, dtype in cargo:
        starts.append(end)
        num_bytes = array.size * storage(dtype).itemsize
        end += -(-num_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    whole = np.zeros(max(end, 1), np.uint8)
    for (array, dtype), start in zip(cargo, starts, strict=True):
        kind = storage(dtype)
        room = whole[start : start + array.size * kind.itemsize]
        np.copyto(room.view(kind).reshape(array.shape), array)
    return _seen(torch.from_numpy(whole).to(device, non_blocking=True), cargo, starts)


def _seen(
    whole: torch.Tensor, cargo: Sequence[Cargo], starts: Sequence[int]
) -> Iterator[torch.Tensor]:
    for (array, dtype), start in zip(cargo, starts, strict=True):
        room = whole[start : start + array.size * storage(dtype).itemsize]
        yield room.view(TORCH_OF[dtype]).view(array.shape)


def _only(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    (tensor,) = tensors
    return tensor
