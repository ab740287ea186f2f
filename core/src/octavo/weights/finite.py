"""Whether weights are numbers: a sample of each, looked at before it leaves the host.

One NaN in a weight makes every logit NaN, and the text that follows says nothing of why. A
checkpoint that was saved broken has them by the thousand, so runs of elements at even distances
find it, at a cost that does not grow with the model; what is small is looked at whole.

Knows nothing of checkpoints: it is given an array and tells what it saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import HostTensor, is_float, to_float

NUM_RUNS = 16
RUN_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class NotFinite:
    """What a sample of a tensor held: how many of those looked at are no finite numbers.

    `index` is where the first one stands, `value` what it is: nan, inf or -inf.
    """

    num_bad: int
    num_seen: int
    index: tuple[int, ...]
    value: float

    def __str__(self) -> str:
        """Say it for people."""
        return (
            f"{self.value} at {list(self.index)} ({self.num_bad} of {self.num_seen} numbers that "
            "were looked at are not finite)"
        )


def not_finite(tensor: HostTensor) -> NotFinite | None:
    """Look at a sample of a tensor; None where all of it is finite, or no real numbers.

    Effects: reads at most `NUM_RUNS` runs of `RUN_LENGTH` elements; the last one ends where the
        tensor ends.
    """
    if not is_float(tensor.dtype) or tensor.array.size == 0:
        return None
    starts, length = _runs(tensor.array.size)
    floats = _floats(tensor, starts, length)
    finite = np.isfinite(floats)
    if finite.all():
        return None
    first = int(np.argmin(finite))
    place = starts[first // length] + first % length
    index = tuple(int(each) for each in np.unravel_index(place, tensor.shape))
    return NotFinite(int((~finite).sum()), len(floats), index, float(floats[first]))


def _runs(size: int) -> tuple[list[int], int]:
    if size <= NUM_RUNS * RUN_LENGTH:
        return [0], size
    last = size - RUN_LENGTH
    return [last * run // (NUM_RUNS - 1) for run in range(NUM_RUNS)], RUN_LENGTH


def _floats(tensor: HostTensor, starts: list[int], length: int) -> npt.NDArray[np.float32]:
    """Give runs of elements, one after the other, in row-major order whatever the strides are."""
    array = tensor.array
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        sample = np.concatenate([flat[start : start + length] for start in starts])
    else:
        places = np.concatenate([np.arange(start, start + length) for start in starts])
        sample = array[np.unravel_index(places, array.shape)]
    with np.errstate(over="ignore"):  # a float64 beyond float32 is what is looked for
        return to_float(HostTensor(sample, tensor.dtype))
