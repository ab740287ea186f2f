"""The pooler: whole prompts in, one row for each out.

    add ─> waiting ─> a step of as many whole prompts as fit ─> launch ─> read ─> rows

It stands beside the engine, for programs that pool or score: their prompts keep no state and make
no token, so there are no blocks, no seats and nobody to preempt, and who came first is in the
first step. As in the engine, a step is launched while those before it are unread.

One thread owns a pooler. Knows nothing of text, devices or models, nor what a row means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.errors import ClientError, PromptTooLong
from octavo_platforms.inputs import NULL_SEAT, DeviceRef, Ints, Pending, StepInputs, StepShape
from octavo_platforms.platform import Program
from octavo_platforms.shapes import padded
from octavo_platforms.tensor import Array, to_float

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What the model, the memory and the operator allow.

    Units: tokens of a prompt, which is in one step; tokens and prompts of a step.
    """

    max_prompt_tokens: int
    max_step_tokens: int
    max_requests: int
    vocab_size: int

    def __post_init__(self) -> None:
        assert self.max_prompt_tokens <= self.max_step_tokens, "a prompt is in one step"

    def check(self, ids: Ints) -> None:
        """Hold a prompt against them.

        Raises: PromptTooLong; ClientError, for one without tokens or with one that the model lacks.
        """
        if len(ids) == 0:
            raise ClientError("The prompt has no tokens. Send at least one.", param="prompt")
        if len(ids) > self.max_prompt_tokens:
            raise PromptTooLong(
                prompt_tokens=len(ids),
                limit_tokens=self.max_prompt_tokens,
                why="the model reads a prompt as a whole (truncate_prompt_tokens cuts texts off)",
            )
        for wrong in (int(ids.max()), int(ids.min())):
            if not 0 <= wrong < self.vocab_size:
                raise ClientError(
                    f"The prompt has the token id {wrong}, but the model's vocabulary has "
                    f"{self.vocab_size} tokens; send ids from 0 to {self.vocab_size - 1}.",
                    param="prompt",
                )


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """A prompt to be pooled, and of each token the segment it is in, None for the first alone."""

    request_id: str
    ids: Ints
    segments: Ints | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """How a program wants its prompts: whose row it takes, and by which name it gets segments.

    `reads_last` says that a prompt's last token stands for it, and not its first; a program that
    takes the mean reads neither.
    """

    entry: str
    reads_last: bool = False
    segments: str | None = None


class Pooler:
    """Prompts in, rows out, in the order in which they came."""

    def __init__(
        self, program: Program, limits: PoolLimits, form: Form, *, max_in_flight: int = 1
    ) -> None:
        self.limits = limits
        self._program = program
        self._form = form
        self._max_in_flight = max_in_flight
        self._waiting: deque[PoolRequest] = deque()
        self._in_flight: deque[tuple[Sequence[str], Pending]] = deque()
        self._sequence = 0

    @property
    def has_work(self) -> bool:
        """Tell whether somebody waits, or some launch was not read."""
        return bool(self._waiting or self._in_flight)

    def add(self, request: PoolRequest) -> None:
        """Take a prompt. Raises: ClientError, for one that could never run."""
        self.limits.check(request.ids)
        self._waiting.append(request)

    def drop(self) -> None:
        """End all requests, wherever they are; nobody reads what is in flight."""
        self._waiting.clear()
        self._in_flight.clear()

    def step(self) -> Mapping[str, Rows]:
        """Launch what can be launched, wait for the oldest launch, and give its rows by request.

        Raises: whatever the device does; then nobody waits any more, and nothing is in flight.
        """
        try:
            return self._advance()
        except Exception:
            self.drop()
            raise

    def _advance(self) -> Mapping[str, Rows]:
        while self._waiting and len(self._in_flight) < self._max_in_flight:
            batch = self._next_batch()
            names = [request.request_id for request in batch]
            self._in_flight.append((names, self._launch(batch)))
        if not self._in_flight:
            return {}
        launched, pending = self._in_flight.popleft()
        (made,) = pending.read().outputs.values()
        return dict(zip(launched, to_float(made), strict=True))

    def _next_batch(self) -> list[PoolRequest]:
        """Take from the front as many prompts as fit into a step."""
        batch: list[PoolRequest] = []
        left = self.limits.max_step_tokens
        while self._waiting and len(batch) < self.limits.max_requests:
            left -= len(self._waiting[0].ids)
            if left < 0:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _launch(self, batch: Sequence[PoolRequest]) -> Pending:
        lengths = [len(request.ids) for request in batch]
        starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        count, longest = len(batch), max(lengths)
        extra: dict[str, Array | DeviceRef] = {}
        if self._form.segments is not None:
            extra[self._form.segments] = np.concatenate([_segments(each) for each in batch])
        self._sequence += 1
        inputs = StepInputs(
            entry=self._form.entry,
            sequence=self._sequence,
            shape=StepShape(
                num_tokens=int(starts[-1]),
                num_requests=count,
                num_rows=count,
                max_query=longest,
                max_context=longest,
                uniform_query=longest if min(lengths) == longest else None,
            ),
            token_ids=np.concatenate([request.ids for request in batch]),
            query_starts=starts,
            seat=np.full(count, NULL_SEAT, np.int32),
            computed=np.zeros(count, np.int32),
            rows=starts[1:] - np.int32(1) if self._form.reads_last else starts[:-1].copy(),
            sampling=None,
            groups={},
            extra=extra,
        )
        return self._program.launch(padded(inputs, self._program.shape_policy))


def _segments(request: PoolRequest) -> Ints:
    found = request.segments
    return np.zeros(len(request.ids), np.int32) if found is None else found
