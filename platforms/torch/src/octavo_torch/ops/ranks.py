"""Ops of several ranks: each is one call of a communicator, whoever's it is.

A kernel closes over its group, so that a launch looks nothing up. Knows nothing of how a
communicator reaches its peers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.ops.op import float_dtype, integer
from octavo_platforms.platform import DeviceTensor, Kernel, Run
from octavo_platforms.ranks import Communicator
from octavo_platforms.specs import OpSpec

Make = Callable[[OpSpec, Communicator], Run]


def bind_collective(spec: OpSpec, communicator: Communicator) -> Kernel | None:
    """Give the kernel of an op, None for one that is not known here."""
    make = MAKERS.get(spec.op)
    if make is None:
        return None
    group = communicator.spec
    name = f"torch.{spec.op} over {group.size} ranks of '{group.name}'"
    return Kernel(name=name, run=make(spec, communicator))


def _all_reduce(spec: OpSpec, communicator: Communicator) -> Run:
    return communicator.all_reduce


def _all_gather(spec: OpSpec, communicator: Communicator) -> Run:
    axis = integer(dict(spec.attrs), "axis")

    def run(x: DeviceTensor) -> DeviceTensor:
        return communicator.all_gather(x, axis)

    return run


def _reduce_scatter(spec: OpSpec, communicator: Communicator) -> Run:
    axis = integer(dict(spec.attrs), "axis")

    def run(x: DeviceTensor) -> DeviceTensor:
        return communicator.reduce_scatter(x, axis)

    return run


def _all_to_all(spec: OpSpec, communicator: Communicator) -> Run:
    def run(x: DeviceTensor, counts: DeviceTensor) -> tuple[DeviceTensor, DeviceTensor]:
        return communicator.all_to_all(x), communicator.all_to_all(counts)

    return run


def _send(spec: OpSpec, communicator: Communicator) -> Run:
    to = integer(dict(spec.attrs), "to")

    def run(x: DeviceTensor) -> None:
        communicator.send(x, to)

    return run


def _recv(spec: OpSpec, communicator: Communicator) -> Run:
    attrs = dict(spec.attrs)
    source, width = integer(attrs, "source"), integer(attrs, "width")
    dtype = float_dtype(attrs, "dtype")

    def run(rows: Tensor) -> DeviceTensor:
        return communicator.recv((rows.shape[0], width), dtype, source)

    return run


def _embedding_part(spec: OpSpec, communicator: Communicator) -> Run:
    number = communicator.spec.number

    def run(table: Tensor, ids: Tensor) -> Tensor:
        own = ids - number * table.shape[0]
        is_own = (own >= 0) & (own < table.shape[0])
        found = table.index_select(0, own.where(is_own, 0))
        return found.where(is_own[:, None], 0)

    return run


def _expert_part(spec: OpSpec, communicator: Communicator) -> Run:
    num_experts = integer(dict(spec.attrs), "num_experts")
    ranks, first = communicator.spec.size, communicator.spec.number * num_experts

    def run(ids: Tensor, weights: Tensor, rank_tokens: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.arange(ids.shape[0] // ranks, dtype=torch.int32, device=ids.device)
        is_real = (place < rank_tokens[:, None]).view(-1, 1)
        own = ids - first
        is_own = (own >= 0) & (own < num_experts) & is_real
        return own.where(is_own, num_experts), weights.where(is_own, 0)

    return run


MAKERS: Mapping[str, Make] = MappingProxyType(
    {
        "all_reduce": _all_reduce,
        "all_gather": _all_gather,
        "reduce_scatter": _reduce_scatter,
        "all_to_all": _all_to_all,
        "send": _send,
        "recv": _recv,
        "embedding_part": _embedding_part,
        "expert_part": _expert_part,
    }
)
