"""Flying blind: launches made by hand, ahead of what was read, on the toy that checks drafts.

Each launch takes the next piece of every prompt, and of requests past their prompt what the
device kept: the last token and its drafts. Up to `depth` launches are unread, so the host
knows only the most that can be computed, and gives blocks for that.

Knows nothing of the scheduler: this is what one has to be able to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from octavo.kv.rings import groups_of, rings_of
from octavo.testing.drive import Running
from octavo.testing.toys.checking import NUM_DRAFTS
from octavo_platforms.inputs import (
    GroupInputs,
    Ints,
    Pending,
    SamplingRows,
    StepInputs,
    StepShape,
)
from octavo_platforms.shapes import padded

Words = tuple[int, int, int]


@dataclass(slots=True)
class Flown:
    """One request: what was asked, what was launched, what was read.

    `known` is what is computed as far as results were read; `unread` the most that launches
    since then can have added.
    """

    seat: int
    prompt: Sequence[int]
    words: Words
    num_fed: int = 0
    known: int = 0
    unread: int = 0
    outputs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """One request's part in a launch; `is_kept` says that its tokens are those the seat keeps.

    `gives` says that what is chosen counts: the request's prompt ends here or has ended.
    """

    request: Flown
    token_ids: Sequence[int]
    is_kept: bool
    gives: bool

    @property
    def num_drafts(self) -> int:
        """Count the drafts, which stand last."""
        return len(self.token_ids) - 1 if self.is_kept else 0


After = Callable[[StepInputs, Sequence[Part], Pending], None]


@dataclass(slots=True)
class Pilot:
    """Runs prompts to a number of output tokens by launches of one entry.

    `after` is called behind each launch, to launch what follows from it, such as new drafts.
    `num_launches` and `most_unread` tell afterwards what that took.
    """

    running: Running
    entry: str
    depth: int
    max_tokens: int
    chunk: int = 6
    after: After | None = None
    num_launches: int = 0
    most_unread: int = 0

    def propose(self, token_at: Mapping[int, int]) -> None:
        """Tell the drafter which token to propose for each position."""
        size = self._max_context
        extra: dict[str, Ints] = {"at": np.arange(size, dtype=np.int32)}
        for draft in range(1, 1 + NUM_DRAFTS):
            said = [token_at.get(computed + draft, 0) for computed in range(size)]
            extra[f"draft.{draft}"] = np.array(said, np.int32)
        self._launch("propose", [], None, extra).read()

    def run(self, prompts: Sequence[Sequence[int]], words: Sequence[Words]) -> list[list[int]]:
        """Run prompts together and give their outputs."""
        requests = [
            Flown(seat, prompt, each)
            for seat, (prompt, each) in enumerate(zip(prompts, words, strict=True), 1)
        ]
        settings = SamplingRows(
            np.array([request.seat for request in requests], np.int32),
            np.array(words, np.uint32).reshape(-1, 3),
        )
        sampling: SamplingRows | None = settings
        unread: deque[tuple[Sequence[Part], Pending]] = deque()
        while parts := self._parts(requests):
            unread.append((parts, self._launch(self.entry, parts, sampling, {})))
            sampling = None
            self.num_launches += 1
            self.most_unread = max(self.most_unread, len(unread))
            if len(unread) == self.depth:
                _read(*unread.popleft())
        while unread:
            _read(*unread.popleft())
        return [request.outputs[: self.max_tokens] for request in requests]

    @property
    def _max_context(self) -> int:
        definition = self.running.definition
        return definition.symbol("M").maximum * definition.state("kv").block_size

    def _parts(self, requests: Sequence[Flown]) -> list[Part]:
        running = (each for each in requests if len(each.outputs) < self.max_tokens)
        return [self._part(request) for request in running]

    def _part(self, request: Flown) -> Part:
        rest = request.prompt[request.num_fed : request.num_fed + self.chunk]
        if not rest:
            width = 1 + NUM_DRAFTS if self.entry == "verify" else 1
            return Part(request, [0] * width, is_kept=True, gives=True)
        is_last = request.num_fed + len(rest) == len(request.prompt)
        return Part(request, rest, is_kept=False, gives=is_last)

    def _launch(
        self,
        entry: str,
        parts: Sequence[Part],
        sampling: SamplingRows | None,
        extra: Mapping[str, Ints],
    ) -> Pending:
        queries = [len(part.token_ids) for part in parts]
        starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
        computed = _ints(part.request.known + part.request.unread for part in parts)
        shape = StepShape(
            num_tokens=sum(queries),
            num_requests=len(parts),
            num_rows=0,
            max_query=max(queries, default=0),
            max_context=int((computed + _ints(queries)).max(initial=0)),
            uniform_query=None,
        )
        inputs = StepInputs(
            entry=entry,
            sequence=self.num_launches,
            shape=shape,
            token_ids=_ints(token for part in parts for token in part.token_ids),
            query_starts=starts,
            seat=_ints(part.request.seat for part in parts),
            computed=computed,
            rows=_ints(()),
            sampling=sampling,
            groups=self._groups(parts, shape.max_context),
            extra=extra,
            token_from=_ints(
                1 + place if part.is_kept else 0
                for part in parts
                for place in range(len(part.token_ids))
            ),
            computed_from=_ints(part.is_kept for part in parts),
            num_drafts=_ints(part.num_drafts for part in parts),
        )
        pending = self.running.program.launch(padded(inputs, self.running.program.shape_policy))
        if parts and self.after is not None:
            self.after(inputs, parts, pending)
        for part in parts:
            part.request.unread += len(part.token_ids)
            if not part.is_kept:
                part.request.num_fed += len(part.token_ids)
        return pending

    def _groups(self, parts: Sequence[Part], max_context: int) -> Mapping[str, GroupInputs]:
        rings = rings_of(self.running.definition.states)
        own = groups_of(_ints(part.request.seat for part in parts), rings)
        return {"kv": GroupInputs(self._table(parts, max_context)), **own}

    def _table(self, parts: Sequence[Part], max_context: int) -> Ints:
        most = self.running.definition.symbol("M").maximum
        width = -(-max_context // self.running.definition.state("kv").block_size)
        first = _ints(1 + (part.request.seat - 1) * most for part in parts)
        return (first[:, None] + np.arange(width)).astype(np.int32)


def _read(parts: Sequence[Part], pending: Pending) -> None:
    result = pending.read()
    for part, tokens, num_tokens in zip(parts, result.tokens, result.num_tokens, strict=True):
        request = part.request
        request.unread -= len(part.token_ids)
        request.known += len(part.token_ids) - part.num_drafts + int(num_tokens) - 1
        if part.gives:
            request.outputs += tokens[:num_tokens].tolist()


def _ints(values: Iterable[int]) -> Ints:
    found: Ints = np.array(list(values), dtype=np.int32)
    return found
