"""The ops: for each, a function from its spec to a kernel, a file a family.

Importing this imports torch. Knows nothing of graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops import choice, dense, rope, rows

Make = Callable[[OpSpec], Kernel]

MAKERS: Mapping[str, Make] = MappingProxyType(
    {**rows.MAKERS, **dense.MAKERS, **rope.MAKERS, **choice.MAKERS}
)


def bind_op(spec: OpSpec) -> Kernel | None:
    """Give the kernel of an op, None for one that is not known here."""
    make = MAKERS.get(spec.op)
    return None if make is None else make(spec)
