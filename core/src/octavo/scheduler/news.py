"""News: whose tokens a result has, and what it tells beside them, for those who wanted to know.

Knows nothing of turns, nor of who computed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.kv.seats import Seats
from octavo.request import RequestId
from octavo.step import (
    LOGPROB,
    NOTHING_SCORED,
    RANK,
    SCORED_SPANS,
    TOP_IDS,
    TOP_LOGPROBS,
    Logprobs,
    Scored,
    Step,
    of_prompt,
)
from octavo_platforms.inputs import Ints, StepResult
from octavo_platforms.tensor import HostTensor

_NAMES = (LOGPROB, RANK, TOP_IDS, TOP_LOGPROBS)


@dataclass(frozen=True, slots=True)
class News:
    """What is told of requests that still have their seats.

    `logprobs` are of the rows' tokens, `scored` of prompts.
    """

    logprobs: Logprobs | None
    scored: Mapping[RequestId, Scored]


NO_NEWS = News(None, NOTHING_SCORED)


def current(
    step: Step, tokens: Ints, seats: Seats
) -> tuple[Sequence[RequestId], npt.NDArray[np.intp], Ints]:
    """Give the ids, seats and tokens of a step's rows, without those who left their seats."""
    ids, at, tickets = step.request_ids, step.seats.astype(np.intp), step.tickets
    rows = step.rows
    if len(rows) != len(ids):
        at, tickets = at[rows], tickets[rows]
    is_current = seats.tickets.take(at) == tickets
    if np.count_nonzero(is_current) != len(rows):
        rows, at, tokens = rows[is_current], at[is_current], tokens[is_current]
    if len(rows) != len(ids):
        ids = [ids[row] for row in rows.tolist()]
    return ids, at, tokens


def news_of(step: Step, result: StepResult, seats: Seats) -> News:
    """Read a result before its tokens are taken in: what ends leaves its seat."""
    is_current = seats.tickets[step.seats] == step.tickets
    of_rows = is_current[step.rows]
    logprobs = None
    if LOGPROB in result.outputs:
        logprobs = _logprobs({name: result.outputs.get(name) for name in _NAMES})[of_rows]
    return News(logprobs, _scored(step, result, is_current))


def _scored(
    step: Step, result: StepResult, is_current: npt.NDArray[np.bool_]
) -> Mapping[RequestId, Scored]:
    if SCORED_SPANS not in result.outputs:
        return NOTHING_SCORED
    told = _logprobs({name: result.outputs.get(of_prompt(name)) for name in _NAMES})
    found: dict[RequestId, Scored] = {}
    start = 0
    for row, first, count in result.outputs[SCORED_SPANS].array.astype(np.int64).tolist():
        if is_current[row]:
            found[step.request_ids[row]] = Scored(first, told[start : start + count])
        start += count
    return found


def _logprobs(found: Mapping[str, HostTensor | None]) -> Logprobs:
    logprob, rank = found[LOGPROB], found[RANK]
    assert logprob is not None, "what is told of a token is told together"
    assert rank is not None, "what is told of a token is told together"
    top_ids, top_logprobs = found[TOP_IDS], found[TOP_LOGPROBS]
    nothing = np.zeros((len(logprob.array), 0))
    return Logprobs(
        logprob.array.astype(np.float32, copy=False),
        rank.array.astype(np.int32, copy=False),
        (nothing if top_ids is None else top_ids.array).astype(np.int32, copy=False),
        (nothing if top_logprobs is None else top_logprobs.array).astype(np.float32, copy=False),
    )
