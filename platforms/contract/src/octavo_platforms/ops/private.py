"""Private ops: what a platform adds to the catalogue under its own namespace, and its proof.

`acme::indexer` is an op like any other: a shape rule, effects, a decomposition or none, and
kernels through `bind_op`. What the conformance suite knows by heart of the standard ops, a
private one has to bring: what it means, in numpy, and arguments to try it on. These are given
rather than derived from the shape rule, which does not know which integers are valid indices
or which numbers are likely.

Knows no private op, nor who runs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from octavo_platforms.graph import Attr, TensorType
from octavo_platforms.ops.op import Op
from octavo_platforms.tensor import DType, HostTensor

NAMESPACED = re.compile(r"[a-z][a-z0-9_]*::[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Arguments for one try of an op: a type and a value for each input.

    A type may use the symbol T, for which the value says how many tokens there are. Inputs at
    the positions `weights` are constants; those that the op writes are buffers, which hold
    their value before the op runs. A platform may pad T, with zeros: what padding writes goes
    to row 0 of a buffer, the null row, which is not compared. An op on states cannot be tried
    alone and has no samples.
    """

    types: tuple[TensorType, ...]
    values: tuple[HostTensor, ...]
    attrs: Mapping[str, Attr] = field(default_factory=lambda: MappingProxyType({}))
    weights: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateOp:
    """An op of one vendor's own, and all that is needed to judge it.

    `oracle` takes the inputs as numpy arrays, reals in float64, and attributes as keywords; it
    gives the output, a tuple of several, or None, and changes in place what the op writes.
    `samples` gives tries for a dtype, none where the op is not for it. `units` are the errors
    allowed in float32 and in 16-bit dtypes, as in `octavo_platforms.tolerance`.
    """

    op: Op
    oracle: Callable[..., object]
    samples: Callable[[DType], Sequence[Sample]]
    units: tuple[float, float] = (0.0, 0.0)


def problem(private: PrivateOp) -> str | None:
    """Say why an op cannot be a private one; None where it can."""
    op = private.op
    if NAMESPACED.fullmatch(op.name) is None:
        return f"the op '{op.name}' is not the catalogue's; name it 'vendor::{op.name}'"
    if op.hook != "bind_op":
        return f"the private op '{op.name}' asks {op.hook}; private ops ask bind_op"
    return None
