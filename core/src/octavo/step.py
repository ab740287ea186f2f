"""The notes that the heart's rooms hand on: what a step runs, and what it changed.

A `Step` says which seats compute how many of their tokens; a `Delta` says which requests got
a token and which ended. Both are arrays side by side, so that a note's cost does not grow
with one object for each request.

Knows nothing of blocks, devices or text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo.request import FinishReason, RequestId
from octavo_platforms.inputs import Ints

NOBODY: npt.NDArray[np.intp] = np.zeros(0, np.intp)

# Outputs of a result beside its tokens, where somebody wants them.
LOGPROB, RANK, TOP_IDS, TOP_LOGPROBS = "logprob", "rank", "top_ids", "top_logprobs"
SCORED_SPANS = "scored_spans"


def of_prompt(output: str) -> str:
    """Name the output that tells of prompts what another tells of chosen tokens."""
    return f"prompt.{output}"


@dataclass(frozen=True, slots=True)
class Copies:
    """States of recurrent groups on their way between seats' rings and snapshots.

    Shapes: all int32 [C]; the state of a seat after so many positions, and a snapshot's row.
    """

    seats: Ints
    positions: Ints
    rows: Ints


_NOWHERE: Ints = np.zeros(0, np.int32)
NO_COPIES = Copies(_NOWHERE, _NOWHERE, _NOWHERE)


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass: which seats compute which of their tokens.

    Shapes: all arrays [R], in the order of arrival, but rows [S], promised [P] and
        admitted [A].
    Units: `computed` positions are in the state before this step; `num_tokens` follow them;
        `rows` are the requests (0 to R-1) whose context is then computed to its end, so that
        they get a token; `promised` are those of them whose last token was chosen by a step that
        is unread, so that their seats on the device have it and the host does not; `admitted`
        are the seats taken since the step before; `tickets` tell a seat's occupants apart.
        `restored` are copied into rings before the step, and `kept` out of them behind it.
    """

    sequence: int
    request_ids: Sequence[RequestId]
    seats: Ints
    tickets: npt.NDArray[np.int64]
    computed: Ints
    num_tokens: Ints
    rows: npt.NDArray[np.intp]
    promised: npt.NDArray[np.intp]
    admitted: Ints
    restored: Copies = NO_COPIES
    kept: Copies = NO_COPIES


@dataclass(frozen=True, slots=True)
class Logprobs:
    """How likely tokens were by the model alone, and which ids were likeliest in their place.

    Shapes: logprob float32 [N]; rank int32 [N], how many ids were likelier; top_ids int32 [N, L]
        and top_logprobs float32 [N, L], the likeliest first: as many as somebody asked for.
    """

    logprob: npt.NDArray[np.float32]
    rank: Ints
    top_ids: Ints
    top_logprobs: npt.NDArray[np.float32]

    def __getitem__(self, tokens: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Logprobs:
        """Give those of some of the tokens."""
        return Logprobs(
            self.logprob[tokens], self.rank[tokens], self.top_ids[tokens], self.top_logprobs[tokens]
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely tokens of a prompt were, from position `first` on; a step tells of a part."""

    first: int
    logprobs: Logprobs


NOTHING_SCORED: Mapping[RequestId, Scored] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Delta:
    """What a step changed for those who wait: new tokens, and requests that ended.

    Shapes: tokens int32 [N], one for each of `request_ids`; `logprobs` are of these, None where
        nobody wants them. `scored` tells of prompts.
    A request that ended stands in `finished` as well as, with its last token, in
    `request_ids`; in `finished` alone, with "error", where its logits chose no token. Aborted
    requests stand in neither: who aborts is told at once.
    """

    request_ids: Sequence[RequestId]
    tokens: Ints
    finished: Mapping[RequestId, FinishReason]
    logprobs: Logprobs | None = None
    scored: Mapping[RequestId, Scored] = field(default_factory=lambda: NOTHING_SCORED)
