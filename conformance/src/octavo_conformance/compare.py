"""Comparing: within the tolerance of the contract, or to the bit. Fails in words.

Knows nothing of where the two sides came from.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.values import Floats, narrow, widen
from octavo_conformance.verdict import Failed, insist
from octavo_platforms.tensor import Array, DType, HostTensor, cast, host
from octavo_platforms.tolerance import allowed_units, error_units


def close(
    op: str, found: HostTensor, exact: Array, dtype: DType, *, units: float | None = None
) -> None:
    """Insist that an op's output is as near to the oracle as its tolerance says.

    Units: `units` of epsilon are allowed, for a private op; else what the contract's table says.
    Raises: Failed.
    """
    insist(found.dtype == dtype, f"{op} gave {found.dtype}, declared was {dtype}")
    insist(found.shape == exact.shape, f"{op} gave the shape {found.shape}, not {exact.shape}")
    limit = allowed_units(op, dtype) if units is None else units
    if limit == 0:
        same(op, found, narrow(exact, dtype))
        return
    wide: Floats = exact.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = error_units(widen(found).astype(np.float64), wide, dtype)
    if not error <= limit:
        at = _worst(widen(found).astype(np.float64), wide)
        raise Failed(
            f"{op} is {error:.3g} units of epsilon from the oracle, {limit:g} are allowed; "
            f"at {at} it gave {widen(found)[at]!r}, exact is {wide[at]!r}"
        )


def same(what: str, found: HostTensor, expected: HostTensor) -> None:
    """Insist on equal dtype, shape and bits. Raises: Failed."""
    insist(found.dtype == expected.dtype, f"{what}: {found.dtype}, expected {expected.dtype}")
    insist(found.shape == expected.shape, f"{what}: {found.shape}, expected {expected.shape}")
    theirs, ours = _bits(found), _bits(expected)
    if np.array_equal(theirs, ours):
        return
    differ = np.argwhere(theirs != ours)
    at = tuple(int(index) for index in differ[0])
    raise Failed(
        f"{what}: {len(differ)} of {theirs.size} elements differ; the first, at {at}, "
        f"is {found.array[at]!r} where {expected.array[at]!r} is right"
    )


def reals(values: Array, dtype: DType) -> HostTensor:
    """Round numbers to a dtype: what a case feeds to a platform and, widened, to the oracle."""
    return cast(host(values.astype(np.float32)), dtype)


def _bits(tensor: HostTensor) -> Array:
    array = np.ascontiguousarray(tensor.array)
    if array.dtype == np.bool_:
        return array
    return array.view(f"u{array.dtype.itemsize}").reshape(tensor.shape)


def _worst(found: Floats, exact: Floats) -> tuple[int, ...]:
    distance = np.where(np.isfinite(found), np.abs(found - np.nan_to_num(exact)), np.inf)
    return tuple(int(index) for index in np.unravel_index(np.argmax(distance), exact.shape))
