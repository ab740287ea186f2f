"""The ops: for each, a function from its spec to a kernel, a file a family.

Importing this imports torch. Knows nothing of graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops import (
    adapters,
    choice,
    dense,
    encoder,
    experts,
    mixed,
    recurrent,
    rope,
    rows,
    scores,
    seats,
    shaping,
)

Make = Callable[[OpSpec], Kernel]

MAKERS: Mapping[str, Make] = MappingProxyType(
    {
        **rows.MAKERS,
        **dense.MAKERS,
        **rope.MAKERS,
        **choice.MAKERS,
        **scores.MAKERS,
        **shaping.MAKERS,
        **seats.MAKERS,
        **experts.MAKERS,
        **encoder.MAKERS,
        **mixed.MAKERS,
        **recurrent.MAKERS,
        **adapters.MAKERS,
    }
)
WITHOUT_WAITING: Mapping[str, Make] = MappingProxyType(
    {
        **choice.WITHOUT_WAITING,
        **shaping.WITHOUT_WAITING,
        **experts.WITHOUT_WAITING,
        **adapters.WITHOUT_WAITING,
    }
)


def bind_op(spec: OpSpec, *, may_wait: bool = True) -> Kernel | None:
    """Give the kernel of an op, None for one that is not known here.

    `may_wait` says that the host may look at values while a launch runs.
    """
    make = MAKERS.get(spec.op)
    if not may_wait:
        make = WITHOUT_WAITING.get(spec.op, make)
    return None if make is None else make(spec)
