"""Turns: one step after the other, and what their results change.

    schedule ──> Step ──(a launch)──> name_blocks ──(its result)──> commit ──> Delta

`known` grows when a step is read, `expected` when it is launched; what lies between is promised.
Up to here nothing depends on how many steps are unread.

Knows nothing of how a seat is given (`admission`), of how tokens are shared (`budget`), nor of
what a share comes to (`making`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ClientError, InternalError
from octavo.kv.groups import Group, Holdings
from octavo.kv.seats import Seats
from octavo.request import FinishReason, Phase, Request, RequestId
from octavo.sampling.needs import HOSTED, LATE, Offers, needs_of
from octavo.scheduler.admission import Admission
from octavo.scheduler.budget import Rest, missing_of, shares
from octavo.scheduler.gates import Gate
from octavo.scheduler.limits import Limits
from octavo.scheduler.making import step_of
from octavo.scheduler.news import NO_NEWS, current, news_of
from octavo.scheduler.pace import Kinds, Pace
from octavo.scheduler.pausing import Pause
from octavo.scheduler.policy import POLICIES
from octavo.scheduler.queue import Queue, turn_of
from octavo.scheduler.roster import Places, Roster
from octavo.step import Delta, Step
from octavo_platforms.inputs import NO_TOKEN, Ints, StepResult

NO_OFFERS = Offers()
NO_SEATS: Ints = np.zeros(0, np.int32)


class Scheduler:
    """All requests that have not ended, the blocks and seats they hold, and whose turn it is.

    `seats` and `holdings` are read by the batch; only the scheduler changes them. `offers` say
    what the program can do beside choosing by temperature and seed. `groups` are those that hold
    blocks, one that sees all of a context where nothing is said. `num_snapshots` states can be
    kept, where a program has any. `gates` are asked before anybody is seated.

    Raises: OperatorError, for groups in which no request fits.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        seed: int = 0,
        offers: Offers = NO_OFFERS,
        groups: Sequence[Group] | None = None,
        num_snapshots: int = 0,
        gates: Sequence[Gate] = (),
    ) -> None:
        self.limits = limits
        self.pause = Pause()
        self.seats = Seats(
            max_requests=limits.max_requests, max_context_tokens=limits.num_context_tokens
        )
        self.holdings = Holdings(
            _one_group(limits) if groups is None else groups,
            seats=self.seats,
            block_size=limits.block_size,
            is_shared=limits.prefix_caching,
            num_snapshots=num_snapshots,
        )
        self.holdings.check(
            context_tokens=limits.num_context_tokens, step_tokens=limits.max_step_tokens
        )
        self.num_preemptions = 0
        self.num_corrupted = 0
        self.num_unread = 0
        self._seed = seed
        self._offers = offers
        self._num_arrived = 0
        self._num_steps = 0
        self._requests: dict[RequestId, Request] = {}
        self._admission = Admission(limits, seats=self.seats, holdings=self.holdings)
        self._waiting = Queue()
        self._running = Roster()
        self._gates = (self.pause, *gates)
        self._pace = Pace(limits.rules)
        self._turn_of = POLICIES[limits.policy]

    @property
    def num_running(self) -> int:
        """Give the number of requests that have a seat."""
        return len(self._requests) - len(self._waiting)

    @property
    def num_waiting(self) -> int:
        """Give the number of requests that wait for one."""
        return len(self._waiting)

    @property
    def has_begun(self) -> bool:
        """Tell whether somebody runs, or has lost its seat and not come to its end."""
        return bool(self.num_running) or any(request.has_begun for request in self._waiting)

    @property
    def is_held(self) -> bool:
        """Tell whether, when it was last asked for a step, only gates or a pause held it back."""
        return self.pause.is_frozen or (not self.num_running and self._waiting.num_held > 0)

    @property
    def num_prefix_hit_tokens(self) -> int:
        """Give the number of tokens that were not computed because blocks held them."""
        return self.holdings.num_hit_tokens

    def requests(self) -> Iterator[Request]:
        """Walk all requests that have not ended."""
        return iter(list(self._requests.values()))

    def add(self, request: Request) -> None:
        """Put a new request into the queue, where its turn is.

        Raises: PromptTooLong, for one that could never run; ClientError, for a token that the
            model lacks, or an id that is in use.
        """
        if request.request_id in self._requests:
            raise ClientError(
                f"The request id '{request.request_id}' is in use; choose another.",
                param="request_id",
            )
        self.limits.check(request.prompt_ids)
        request.needs = needs_of(request.params, self._offers, vocab_size=self.limits.vocab_size)
        request.is_late |= bool(request.needs & LATE)
        turn = self._turn_of(request.priority, self._num_arrived)
        request.arrive(self._num_arrived, engine_seed=self._seed, turn=turn)
        self._num_arrived += 1
        self._requests[request.request_id] = request
        self.holdings.add(request.request_id, request.cache_keys)
        self._waiting.add(request)

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
            self._finish(request, reason)
        return request

    def forget(self, *, also_running: bool) -> None:
        """Let nobody find what was computed up to now; those who run may have to start anew.

        Effects: their tokens that are unread are dropped, and chosen again.
        """
        self._close_ranks()
        while also_running and len(self._running):
            self._preempt_last()
        self.holdings.retire()
        for request in self._waiting:
            self.holdings.add(request.request_id, request.cache_keys)

    def fail(self) -> None:
        """End every request with "error": a launch failed, or its result.

        Effects: nothing is unread any more, and no block is remembered, because nobody knows what
            was written.
        """
        self.num_unread = 0
        for request in self.requests():
            self.end(request.request_id, "error")
        self.holdings.forget()

    def schedule(self) -> Step | None:
        """Say what the next step computes; None when nobody can compute anything now.

        Then there is nothing to do, or what is unread has to be read first.

        Effects: seats and blocks are taken, and the step counts as launched: the next call
            goes on from there.
        """
        if self.pause.is_frozen or (self.num_unread and self._wants_to_be_alone()):
            return None
        self._close_ranks()
        for kinds in self._pace.turns():
            step = self._made(kinds)
            if step is not None:
                self._pace.count(step.num_tokens)
                return step
        return None

    def _made(self, kinds: Kinds) -> Step | None:
        at = self._running.at
        self.holdings.trim(at)
        given = self._cut(at, self._shares(kinds))
        while not self._grow(given):
            if self.num_unread:
                return None
            self._preempt_last()
            given = given[:-1]
        admitted = NO_SEATS
        if kinds.prompts and len(self._waiting):
            given, admitted = self._admit(given)
        return self._step(given, admitted)

    def _wants_to_be_alone(self) -> bool:
        """Tell whether the next step may be one whose tokens the host chooses."""
        if self.seats.num_hosted > 0:
            return True
        first = next(self._waiting.admissible(self._gates), None)
        return first is not None and bool(first.needs & HOSTED)

    def name_blocks(self) -> None:
        """Name blocks that are full by now. Best called while the device works."""
        self.holdings.name_all()

    def commit(self, step: Step, result: StepResult) -> Delta:
        """Take a step's result in: new tokens, and requests that end.

        Rows of requests that lost their seat since the step was made are dropped. Steps are
        committed in the order in which they were scheduled.
        """
        seats, tokens = self.seats, result.tokens[:, 0]
        if len(tokens) != len(step.rows):
            raise InternalError(
                f"a step of {len(step.rows)} rows came back with {len(tokens)} tokens"
            )
        self.num_unread -= 1
        news = news_of(step, result, seats) if result.outputs else NO_NEWS
        ids, at, tokens = current(step, tokens, seats)
        logprobs = news.logprobs
        finished: dict[RequestId, FinishReason] = {}
        is_made = tokens != NO_TOKEN
        if np.count_nonzero(is_made) != len(tokens):
            finished = {ids[row]: "error" for row in np.flatnonzero(~is_made).tolist()}
            self.num_corrupted += len(finished)
            ids = [ids[row] for row in np.flatnonzero(is_made).tolist()]
            at, tokens = at[is_made], tokens[is_made]
            logprobs = None if logprobs is None else logprobs[is_made]
        known = seats.append(at, tokens)
        is_stopped = seats.are_stops(at, tokens)
        ended = is_stopped | (known >= seats.end.take(at))
        for index in ended.nonzero()[0].tolist():
            finished[ids[index]] = "stop" if is_stopped[index] else "length"
        for request_id, reason in finished.items():
            self._finish(self._requests[request_id], reason)
        return Delta(
            request_ids=ids,
            tokens=tokens.copy(),
            finished=finished,
            logprobs=logprobs,
            scored=news.scored,
        )

    def _shares(self, kinds: Kinds) -> Ints:
        """Say how many tokens each running request computes in a step. Shapes: [R]."""
        missing = missing_of(self.seats, self._running.at, kinds, num_unread=self.num_unread)
        if self.limits.num_stages > 1:
            missing[np.flatnonzero(missing)[self._most_requests() :]] = 0
        return shares(missing, self.limits.max_step_tokens, self.limits.rules)

    def _cut(self, at: Places, given: Ints) -> Ints:
        """End parts where a state is kept, unless the rules leave no choice."""
        rules = self.limits.rules
        if rules.whole_prompts or rules.part_multiple > 1 or not rules.mixes:
            return given
        return self.holdings.cut(at, given)

    def _most_requests(self) -> int:
        """Give how many requests a step has at most, so that each stage gets one to work at."""
        most = min(self.num_running + self.num_waiting, self.limits.max_requests)
        return -(-most // self.limits.num_stages)

    def _grow(self, given: Ints) -> bool:
        """Make room for the last tokens of those who compute; False without it.

        Who is admitted has room for all that is known; each step adds one token at most.
        """
        return self.holdings.grow(self._running.at, given)

    def _admit(self, given: Ints) -> tuple[Ints, Ints]:
        """Seat waiting requests in order; give everybody's share of the tokens, and the new seats.

        Shapes: given [R], and then as many more as were seated.
        """
        rest = Rest(self.limits.rules, self.limits.max_step_tokens, given)
        num_requests = self._most_requests() - int(np.count_nonzero(given))
        seated: list[Request] = []
        seats: list[int] = []
        parts: list[int] = []
        for request in self._waiting.admissible(self._gates):
            if rest.is_used_up or len(seated) >= num_requests:
                break
            seat = self._admission.seat(request, num_tokens=rest.num_tokens)
            if seat is None:
                break
            self._waiting.remove(request)
            missing = int(self.seats.known[seat] - self.seats.computed[seat])
            share = self._cut(np.array([seat]), np.array([rest.fitting(missing)], np.int32))
            parts.append(rest.take(int(share[0])))
            seated.append(request)
            seats.append(seat)
        if seated:
            given = np.concatenate([given, np.array(parts, np.int32)])
            ids = [request.request_id for request in seated]
            places = self._running.add(seats, ids, [turn_of(request) for request in seated])
            given = given if places is None else given[places]
        return given, np.array(seats, np.int32)

    def _step(self, given: Ints, admitted: Ints) -> Step | None:
        step = step_of(
            given,
            admitted,
            sequence=self._num_steps + 1,
            running=self._running,
            seats=self.seats,
            holdings=self.holdings,
            num_unread=self.num_unread,
        )
        if step is not None:
            self.num_unread += 1
            self._num_steps += 1
        return step

    def _preempt_last(self) -> None:
        """Let the one whose turn comes last wait again.

        It is seated again in the same step only where it finds blocks that others hold, and so
        needs fewer than it gave back.
        """
        request = self._requests[self._running.ids[-1]]
        self._running.drop_last()
        seat = self._seat_of(request)
        request.preempt(self.seats.context(seat))
        self._vacate(seat)
        self._waiting.add(request)
        self.num_preemptions += 1

    def _finish(self, request: Request, reason: FinishReason) -> None:
        seat = self._seat_of(request)
        request.finish(reason, self.seats.context(seat))
        self._vacate(seat, is_sound=reason != "error")
        self._forget(request)

    def _vacate(self, seat: int, *, is_sound: bool = True) -> None:
        """Free a seat and its blocks; of its remembered blocks, the last is forgotten first."""
        self.holdings.leave(seat, is_sound=is_sound)
        self.seats.release(seat)

    def _close_ranks(self) -> None:
        """Strike those who left since the step before, all at once."""
        if len(self._running) != self.num_running:
            self._running.keep(self.seats.tickets.take(self._running.at) != 0)

    def _forget(self, request: Request) -> None:
        del self._requests[request.request_id]
        self.holdings.drop(request.request_id)

    def _seat_of(self, request: Request) -> int:
        assert request.seat is not None, "a running request has a seat"
        return request.seat


def _one_group(limits: Limits) -> Sequence[Group]:
    return [] if limits.num_blocks is None else [Group("kv", limits.num_blocks)]
