"""The scheduler: who computes what in the next step, and what a step's result changes.

Catch-up: a step gives each running request tokens until its computed positions equal its
known ones. One token short is what others call decoding, many short is a prompt; here both
are the same thing, and so are prompts in parts, prefix hits and resumed requests.

    budget   first those one token short, then longer ones by arrival, then who waits
    blocks   taken for the whole known context at admission, then one at a time; when none is
             left the last to arrive is preempted: it waits, in front, and is computed again

Running requests stand in order of arrival, and nobody who waits arrived before one who runs:
the first to arrive always advances, so nobody starves.

Knows nothing of devices, programs or text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.errors import ClientError, InternalError, OperatorError, PromptTooLong
from octavo.kv.pool import BlockId, Pool
from octavo.kv.prefix import Chain
from octavo.kv.seats import Seats
from octavo.kv.tables import Tables
from octavo.request import FinishReason, Phase, Request, RequestId
from octavo.sampling import sampling_words
from octavo.step import Delta, Step
from octavo_platforms.inputs import Ints, StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the model, the memory and the operator allow.

    Units: `num_blocks` counts the null block, as the device's buffers do;
        `max_context_tokens` is the model's longest prompt and output together.
    Raises: OperatorError, for limits under which no request could ever run.
    """

    max_context_tokens: int
    num_blocks: int
    block_size: int
    max_requests: int
    max_step_tokens: int
    vocab_size: int
    prefix_caching: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.max_requests <= self.max_step_tokens:
            raise OperatorError(
                f"{self.max_requests} requests cannot each get a token in a step of "
                f"{self.max_step_tokens} tokens: allow fewer requests (at least 1) or longer steps."
            )
        if self.num_context_tokens < 2:
            raise OperatorError(
                f"No request fits: {self.num_blocks} blocks of {self.block_size} tokens (one of "
                f"them null) and a context of {self.max_context_tokens} tokens leave no room for "
                "a prompt and an output token. Give the cache more memory."
            )

    @property
    def num_context_tokens(self) -> int:
        """Give the longest context that both the model and the blocks have room for."""
        return min(self.max_context_tokens, (self.num_blocks - 1) * self.block_size)


class Scheduler:
    """All requests that have not ended, the blocks and seats they hold, and whose turn it is.

    `seats` and `tables` are read by the batch; only the scheduler changes them.
    """

    def __init__(self, limits: Limits, *, seed: int = 0) -> None:
        self.limits = limits
        self.pool = Pool(limits.num_blocks)
        self.seats = Seats(
            max_requests=limits.max_requests, max_context_tokens=limits.num_context_tokens
        )
        self.tables = Tables(
            num_seats=limits.max_requests + 1,
            max_context_tokens=limits.num_context_tokens,
            block_size=limits.block_size,
        )
        self.num_prefix_hit_tokens = 0
        self.num_preemptions = 0
        self._seed = seed
        self._num_arrived = 0
        self._num_steps = 0
        self._requests: dict[RequestId, Request] = {}
        self._chains: dict[RequestId, Chain] = {}
        self._waiting: deque[Request] = deque()
        self._running: Ints = np.zeros(0, np.int32)
        self._running_ids: tuple[RequestId, ...] = ()
        self._refused: tuple[RequestId, int] | None = None

    @property
    def num_running(self) -> int:
        """Give the number of requests that have a seat."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Give the number of requests that wait for one."""
        return len(self._waiting)

    def requests(self) -> Iterator[Request]:
        """Walk all requests that have not ended."""
        return iter(list(self._requests.values()))

    def add(self, request: Request) -> None:
        """Put a new request at the end of the queue.

        Raises: PromptTooLong, for one that could never run; ClientError, for a token that the
            model lacks, or an id that is in use.
        """
        if request.request_id in self._requests:
            raise ClientError(
                f"The request id '{request.request_id}' is in use; choose another.",
                param="request_id",
            )
        self._check_prompt(request.prompt_ids)
        request.arrive(self._num_arrived, engine_seed=self._seed)
        self._num_arrived += 1
        self._requests[request.request_id] = request
        self._chains[request.request_id] = Chain(request.cache_salt)
        self._waiting.append(request)

    def end(self, request_id: RequestId, reason: FinishReason) -> Request | None:
        """End a request before its time, wherever it stands; None if it has ended already.

        Effects: its blocks and its seat can be given to others at once; what a launch in
            flight still makes for it is dropped.
        """
        request = self._requests.get(request_id)
        if request is None:
            return None
        if request.phase is Phase.WAITING:
            self._waiting.remove(request)
            request.finish(reason)
            self._forget(request)
        else:
            self._leave_seat(request, reason)
            self._close_ranks()
        return request

    def schedule(self) -> Step | None:
        """Say what the next step computes; None when nobody can compute anything now.

        Effects: seats and blocks are taken, and the step counts as launched: the next call
            goes on from there.
        """
        given = self._share_budget()
        self._grow_contexts()
        given = given[: len(self._running)]
        admitted, shares = self._admit(self.limits.max_step_tokens - int(given.sum()))
        if admitted:
            given = np.concatenate([given, shares])
        return self._step(given, np.array(admitted, np.int32))

    def commit(self, step: Step, result: StepResult) -> Delta:
        """Take a step's result in: new tokens, newly full blocks, requests that end.

        Rows of requests that lost their seat since the step was made are dropped.
        """
        seats = self.seats
        is_current = seats.tickets[step.seats] == step.tickets
        if self.limits.prefix_caching:
            self._name_full_blocks(step, is_current)
        rows, tokens = step.rows, result.tokens[:, 0]
        if len(tokens) != len(rows):
            raise InternalError(f"a step of {len(rows)} rows came back with {len(tokens)} tokens")
        kept = is_current[rows]
        if not kept.all():
            rows, tokens = rows[kept], tokens[kept]
        ids = step.request_ids
        if len(rows) != len(ids):
            ids = [ids[row] for row in rows.tolist()]
        seated = step.seats[rows]
        known = seats.known[seated]
        seats.contexts[seated, known] = tokens
        known += 1
        seats.known[seated] = known
        is_stopped = (seats.stops[seated] == tokens[:, None]).any(axis=1)
        ended = np.flatnonzero(is_stopped | (known >= seats.end[seated]))
        finished: dict[RequestId, FinishReason] = {}
        for index in ended.tolist():
            finished[ids[index]] = "stop" if is_stopped[index] else "length"
            self._leave_seat(self._requests[ids[index]], finished[ids[index]])
        if finished:
            self._close_ranks()
        return Delta(request_ids=ids, tokens=tokens.copy(), finished=finished)

    def _check_prompt(self, prompt: Ints) -> None:
        limits = self.limits
        longest = limits.num_context_tokens
        if len(prompt) >= longest:
            holder = "model" if longest == limits.max_context_tokens else "cache"
            raise PromptTooLong(
                prompt_tokens=len(prompt),
                limit_tokens=longest - 1,
                why=f"the {holder} holds {longest} tokens and the output needs one of them",
            )
        largest = int(prompt.max())
        if largest >= limits.vocab_size:
            raise ClientError(
                f"The prompt has the token id {largest}, but the model's vocabulary has "
                f"{limits.vocab_size} tokens; send ids below that.",
                param="prompt",
            )

    def _share_budget(self) -> Ints:
        missing = self.seats.known[self._running] - self.seats.computed[self._running]
        given: Ints = np.minimum(missing, 1)
        budget = self.limits.max_step_tokens - int(given.sum())
        for index in np.flatnonzero(missing > 1).tolist():
            if budget == 0:
                break
            share = min(int(missing[index]) - 1, budget)
            given[index] += share
            budget -= share
        return given

    def _grow_contexts(self) -> None:
        """Make room for the running requests' last tokens.

        Effects: where blocks are short, the last to arrive are preempted until they suffice.
            None of them can be seated again in the same step: it needs more than it gave back.
        """
        while True:
            known = self.seats.known[self._running]
            full = self._running[known > self.tables.num_tokens[self._running]]
            blocks = self.pool.take(len(full))
            if blocks is not None:
                self.tables.grow(full, blocks)
                return
            self._preempt_last()

    def _admit(self, budget: int) -> tuple[list[int], Ints]:
        """Seat waiting requests in order; give their seats and each one's share of the budget."""
        admitted: list[int] = []
        shares: list[int] = []
        ids: list[RequestId] = []
        while budget > 0 and self._waiting and self.seats.num_free:
            request = self._waiting[0]
            seat = self._seat(request)
            if seat is None:
                break
            self._waiting.popleft()
            shares.append(min(budget, int(self.seats.known[seat] - self.seats.computed[seat])))
            budget -= shares[-1]
            admitted.append(seat)
            ids.append(request.request_id)
        if admitted:
            self._running = np.concatenate([self._running, np.array(admitted, np.int32)])
            self._running_ids += tuple(ids)
        return admitted, np.array(shares, np.int32)

    def _seat(self, request: Request) -> int | None:
        """Seat one request with room for its whole context; None, and no change, if none is left.

        Who was refused is not looked at again until more blocks are available than there were.
        """
        if self._refused is not None:
            refused_id, num_available = self._refused
            if refused_id == request.request_id and self.pool.num_available <= num_available:
                return None
        num_needed = self.tables.num_blocks_for(len(request.context))
        hits = self._remembered_prefix(request)
        for block in hits:
            self.pool.share(block)
        fresh = self.pool.take(num_needed - len(hits))
        if fresh is None:
            self.pool.release(reversed(hits))
            self._refused = (request.request_id, self.pool.num_available)
            return None
        self._refused = None
        num_cached = len(hits) * self.limits.block_size
        assert request.seed is not None, "a request that waits has a seed"
        num_output = len(request.context) - request.num_prompt_tokens
        allowed = request.params.max_tokens or self.limits.num_context_tokens
        seat = self.seats.take(
            request.context,
            computed=num_cached,
            end=min(request.num_prompt_tokens + allowed, self.limits.num_context_tokens),
            stop_ids=request.stop_ids,
            words=sampling_words(request.params.temperature, request.seed),
        )
        assert seat is not None, "a free seat was seen"
        self.tables.append(seat, hits + fresh)
        request.start(seat)
        if num_output == 0:
            request.num_cached_tokens = num_cached
        self.num_prefix_hit_tokens += num_cached
        return seat

    def _remembered_prefix(self, request: Request) -> list[BlockId]:
        """Find the blocks that already hold the context's beginning, but not its last token."""
        found: list[BlockId] = []
        if not self.limits.prefix_caching:
            return found
        chain, size = self._chains[request.request_id], self.limits.block_size
        for index in range((len(request.context) - 1) // size):
            block = self.pool.find(chain.name(index, request.context, size))
            if block is None:
                break
            found.append(block)
        return found

    def _step(self, given: Ints, admitted: Ints) -> Step | None:
        active = np.flatnonzero(given)
        if not active.size:
            return None
        seats, ids = self._running.copy(), self._running_ids
        if len(active) != len(seats):
            seats, given = seats[active], given[active]
            ids = tuple(ids[index] for index in active.tolist())
        computed = self.seats.computed[seats]
        reached = computed + given
        self.seats.computed[seats] = reached
        self._num_steps += 1
        return Step(
            sequence=self._num_steps,
            request_ids=ids,
            seats=seats,
            tickets=self.seats.tickets[seats],
            computed=computed,
            num_tokens=given,
            rows=np.flatnonzero(reached == self.seats.known[seats]),
            admitted=admitted,
        )

    def _name_full_blocks(self, step: Step, is_current: npt.NDArray[np.bool_]) -> None:
        size = self.limits.block_size
        first = step.computed // size
        last = (step.computed + step.num_tokens) // size
        for row in np.flatnonzero((last > first) & is_current).tolist():
            seat, chain = int(step.seats[row]), self._chains[step.request_ids[row]]
            for index in range(int(first[row]), int(last[row])):
                name = chain.name(index, self.seats.contexts[seat], size)
                self.pool.remember(self.tables.block(seat, index), name)

    def _preempt_last(self) -> None:
        request = self._requests[self._running_ids[-1]]
        self._running, self._running_ids = self._running[:-1], self._running_ids[:-1]
        seat = self._seat_of(request)
        request.preempt(self.seats.context(seat))
        self._vacate(seat)
        self._waiting.appendleft(request)
        self.num_preemptions += 1

    def _leave_seat(self, request: Request, reason: FinishReason) -> None:
        seat = self._seat_of(request)
        request.finish(reason, self.seats.context(seat))
        self._vacate(seat)
        self._forget(request)

    def _vacate(self, seat: int) -> None:
        """Free a seat and its blocks; of its remembered blocks, the last is forgotten first."""
        self.pool.release(reversed(self.tables.clear(seat)))
        self.seats.release(seat)

    def _close_ranks(self) -> None:
        is_seated = self.seats.tickets[self._running] != 0
        self._running = self._running[is_seated]
        self._running_ids = tuple(
            request_id
            for request_id, stays in zip(self._running_ids, is_seated.tolist(), strict=True)
            if stays
        )

    def _forget(self, request: Request) -> None:
        del self._requests[request.request_id]
        del self._chains[request.request_id]

    def _seat_of(self, request: Request) -> int:
        assert request.seat is not None, "a running request has a seat"
        return request.seat
