"""The op that turns logits into tokens.

Knows nothing of who asked for which temperature; seats do.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, tensor


def _sample(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Choose by logits [S, V], seat_sampling uint32 [N, 3], seats and positions int32 [S].

    A seat's row holds the bits of its float32 temperature and its seed's low and high word.
    At temperature 0 the largest logit wins, and of equal ones the lowest id. Else the largest
    of logits / temperature + noise, computed in float32, with the Gumbel noise of
    `octavo_platforms.philox` for the seed and the new token's position, positions + 1.
    Gives the tokens, int32 [S]; -1, no token, where the largest is not a finite number: some
    logit is not-a-number or infinite, or all are minus infinity.
    """
    logits, settings, seats, positions = (tensor(types, index) for index in range(4))
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    expect(settings.dtype == "uint32" and settings.shape[1:] == (3,), f"{settings} has no 3 words")
    expect(seats.shape == positions.shape == logits.shape[:1], "one seat and position a row")
    return (TensorType(logits.shape[:1], "int32"),)


SAMPLE = Op(name="sample", infer=_sample)

OPS = (SAMPLE,)
