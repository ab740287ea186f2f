"""The notes that the heart's rooms hand on: what a step runs, and what it changed.

A `Step` says which seats compute how many of their tokens; a `Delta` says which requests got
a token and which ended. Both are arrays side by side, so that a note's cost does not grow
with one object for each request.

Knows nothing of blocks, devices or text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.request import FinishReason, RequestId
from octavo_platforms.inputs import Ints


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass: which seats compute which of their tokens.

    Shapes: all arrays [R], in the order of arrival, but rows [S] and admitted [A].
    Units: `computed` positions are in the state before this step; `num_tokens` follow them;
        `rows` are the requests (0 to R-1) whose context is then computed to its end, so that
        they get a token; `admitted` are the seats taken since the step before; `tickets` tell
        a seat's occupants apart.
    """

    sequence: int
    request_ids: Sequence[RequestId]
    seats: Ints
    tickets: npt.NDArray[np.int64]
    computed: Ints
    num_tokens: Ints
    rows: npt.NDArray[np.intp]
    admitted: Ints


@dataclass(frozen=True, slots=True)
class Delta:
    """What a step changed for those who wait: new tokens, and requests that ended.

    Shapes: tokens int32 [N], one for each of `request_ids`.
    A request that ended stands in `finished` as well as, with its last token, in
    `request_ids`. Aborted requests stand in neither: who aborts is told at once.
    """

    request_ids: Sequence[RequestId]
    tokens: Ints
    finished: Mapping[RequestId, FinishReason]
