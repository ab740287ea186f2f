"""A request: the tokens given, the tokens made, and where it stands.

          arrive            start
    (new) ------> waiting --------> running
                     ^    preempt      |
                     +-----------------+
                     |                 |
                     +----> finished <-+       finish, from either

While a request runs, its context grows in its seat's row, not here: `output_ids` is brought
up to date when it leaves its seat. Who wants the tokens as they come reads the deltas.

Knows nothing of blocks, batches or text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NewType

import numpy as np

from octavo.errors import ClientError, InternalError
from octavo.sampling import SamplingParams, derived_seed
from octavo_platforms.inputs import Ints

RequestId = NewType("RequestId", str)
Turn = NewType("Turn", tuple[int, int])
FinishReason = Literal["stop", "length", "abort", "error"]


class Phase(Enum):
    """Where a request stands."""

    NEW = "new"
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or sound behind a run of tokens, by a digest of its content.

    Units: it stands at the positions `first` to `first + num_tokens - 1`.
    """

    first: int
    num_tokens: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKeys:
    """What parts contexts whose tokens are the same.

    Chains of different salts share no name, nor do those of different adapters; blocks that stand
    before all media are shared whatever comes behind.
    """

    salt: str = ""
    adapter: str = ""
    media: Sequence[Media] = ()


NO_KEYS = CacheKeys()


class Request:
    """One prompt and the output that grows from it.

    `stop_ids` are the tokens that end the output: the client's, and the model's own
    (`eos_ids`) unless the client ignores them. A stop token is part of the output. Requests
    share remembered blocks only where their `cache_keys` allow it. One that `is_late` is in
    no step while a token of it is unread, because its next step brings what follows from that.
    `needs` are the bits of `sampling.needs`, once somebody knows what the program offers.
    `turn` says before whom it comes, lower first; a policy makes it of `priority` and arrival.

    Raises: ClientError, for a prompt that is empty or is not a list of token ids.
    """

    __slots__ = (
        "_phase",
        "arrival",
        "cache_keys",
        "context",
        "finish_reason",
        "has_begun",
        "is_late",
        "needs",
        "num_cached_tokens",
        "params",
        "priority",
        "prompt_ids",
        "request_id",
        "seat",
        "seed",
        "stop_ids",
        "turn",
    )

    def __init__(
        self,
        request_id: str,
        prompt_ids: Sequence[int] | Ints,
        params: SamplingParams,
        *,
        eos_ids: Collection[int] = (),
        cache_salt: str = "",
        adapter: str = "",
        media: Sequence[Media] = (),
        is_late: bool = False,
        priority: int = 0,
    ) -> None:
        own = frozenset() if params.ignore_eos else frozenset(eos_ids)
        self.request_id = RequestId(request_id)
        self.prompt_ids = _token_ids(prompt_ids)
        self.params = params
        self.stop_ids: frozenset[int] = own | frozenset(params.stop_token_ids)
        self.cache_keys = CacheKeys(salt=cache_salt, adapter=adapter, media=tuple(media))
        self.is_late = is_late
        self.priority = priority
        self.needs = 0
        self.has_begun = False
        self.context = self.prompt_ids
        self.arrival: int | None = None
        self.turn: Turn | None = None
        self.seed: int | None = params.seed
        self.seat: int | None = None
        self.finish_reason: FinishReason | None = None
        self.num_cached_tokens = 0
        self._phase = Phase.NEW

    @property
    def phase(self) -> Phase:
        """Give where the request stands."""
        return self._phase

    @property
    def num_prompt_tokens(self) -> int:
        """Give the length of the prompt."""
        return len(self.prompt_ids)

    @property
    def output_ids(self) -> list[int]:
        """Give the tokens made, up to the last time the request left a seat."""
        tokens: list[int] = self.context[len(self.prompt_ids) :].tolist()
        return tokens

    def arrive(self, arrival: int, *, engine_seed: int, turn: Turn | None = None) -> None:
        """Take a turn, that of who came first if none is given, and a seed if there is none."""
        self._move({Phase.NEW}, Phase.WAITING)
        self.arrival = arrival
        self.turn = Turn((0, arrival)) if turn is None else turn
        if self.seed is None:
            self.seed = derived_seed(engine_seed, arrival)

    def start(self, seat: int) -> None:
        """Begin to run, or to run again, in a seat."""
        self._move({Phase.WAITING}, Phase.RUNNING)
        self.has_begun = True
        self.seat = seat

    def preempt(self, context: Ints) -> None:
        """Give the seat back and wait again; the context known so far is kept."""
        self._move({Phase.RUNNING}, Phase.WAITING)
        self.seat = None
        self.context = context

    def finish(self, reason: FinishReason, context: Ints | None = None) -> None:
        """End for good; `context` is what a running request knew."""
        self._move({Phase.WAITING, Phase.RUNNING}, Phase.FINISHED)
        self.seat = None
        self.finish_reason = reason
        if context is not None:
            self.context = context

    def _move(self, legal: Collection[Phase], phase: Phase) -> None:
        if self._phase not in legal:
            raise InternalError(
                f"request {self.request_id} is {self._phase.value} and cannot become {phase.value}"
            )
        self._phase = phase


def _token_ids(prompt: Sequence[int] | Ints) -> Ints:
    if len(prompt) == 0:
        raise ClientError("The prompt is empty; it must have at least one token.", param="prompt")
    try:
        array = np.asarray(prompt)
    except ValueError as error:
        raise _not_token_ids() from error
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise _not_token_ids()
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise ClientError("The prompt has a token id that no vocabulary holds.", param="prompt")
    return array.astype(np.int32)


def _not_token_ids() -> ClientError:
    return ClientError("The prompt must be a flat list of token ids (integers).", param="prompt")
