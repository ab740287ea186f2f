"""Ops that move or forbid logits before one is chosen: biases, penalties, cuts.

Each says what `octavo_platforms.shaping` does for many rows at once, with settings that come
with the launch: most requests have none, and who has some pays for them. All are float32.

Knows nothing of who asked, nor of where a setting came from.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import Size, TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, tensor


def _bias_logits(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [S, V], ids int32 [S, B], values float32 [S, B] -> logits [S, V].

    Adds each value at its id; an id that stands twice gets both. Minus infinity forbids, and a
    zero at any id is padding.
    """
    logits, ids, values = (tensor(types, index) for index in range(3))
    rows = _rows(logits)
    expect(ids.dtype == "int32" and _is_wide(ids, rows), f"{ids} are not ids for each row")
    expect(values == TensorType(ids.shape, "float32"), f"{values} is not a value for each id")
    return (logits,)


def _penalise_logits(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [S, V], history int32 [S, H], spans int32 [S, 2], last int32 [S], penalties [S, 3].

    A row's context is the first spans[0] tokens of its history and then `last`, which only the
    device may know; its prompt are the first spans[1] tokens of that. Penalties are float32:
    repetition, presence, frequency (`shaping.penalised`). Gives logits [S, V].
    """
    logits, history, spans, last, penalties = (tensor(types, index) for index in range(5))
    rows = _rows(logits)
    expect(history.dtype == "int32" and _is_wide(history, rows), f"{history} is no history")
    expect(spans == TensorType((rows, 2), "int32"), f"{spans} has no two lengths for each row")
    expect(last == TensorType((rows,), "int32"), f"{last} is not a token for each row")
    expect(penalties == TensorType((rows, 3), "float32"), f"{penalties} has no three a row")
    return (logits,)


def _truncate_logits(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [S, V], seat_sampling uint32 [N, 3], seats int32 [S], top_k int32 [S], cuts [S, 2].

    The logits of ids that are too unlikely become minus infinity, those of others stay as they
    are: by min-p (cuts[1]), top-k, top-p (cuts[0]), in that order, of the softmax of logits /
    temperature (`shaping.truncated`). Cuts are float32. A row whose seat has temperature 0 stays
    as it is. Gives logits [S, V].
    """
    logits, settings, seats, top_k, cuts = (tensor(types, index) for index in range(5))
    rows = _rows(logits)
    expect(settings.dtype == "uint32" and settings.shape[1:] == (3,), f"{settings} has no 3 words")
    expect(seats == top_k == TensorType((rows,), "int32"), "one seat and one top_k a row")
    expect(cuts == TensorType((rows, 2), "float32"), f"{cuts} has no two cuts for each row")
    return (logits,)


def _rows(logits: TensorType) -> Size:
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    expect(logits.dtype == "float32", f"logits are shaped in float32, not as {logits}")
    return logits.shape[0]


def _is_wide(found: TensorType, rows: Size) -> bool:
    return len(found.shape) == 2 and found.shape[0] == rows


BIAS_LOGITS = Op(name="bias_logits", infer=_bias_logits)
PENALISE_LOGITS = Op(name="penalise_logits", infer=_penalise_logits)
TRUNCATE_LOGITS = Op(name="truncate_logits", infer=_truncate_logits)

OPS = (BIAS_LOGITS, PENALISE_LOGITS, TRUNCATE_LOGITS)
