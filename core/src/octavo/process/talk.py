"""The client's thread: its socket, the requests that are open, and what the engine says of them.

It makes text of a step's tokens in one go, so that no event loop waits for that, and ends in the
engine what a stop string has ended here. When the engine goes, it fails what is open at once, and
greets the next engine at the same address.

Does not know who asks, nor how an engine is started.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from octavo.errors import InternalError, LaterError, OctavoError
from octavo.process.board import Board, Watch
from octavo.process.channel import ClientSocket, Place
from octavo.process.messages import (
    REASONS,
    Abort,
    Add,
    Ask,
    Facts,
    Failed,
    FromClient,
    FromEngine,
    Hello,
    Made,
    NotStarted,
    Ready,
    Refused,
    Said,
    StatsTold,
    Stop,
    describe,
    error_of,
    plain_sampling,
    wire_of_clients,
    wire_of_engines,
)
from octavo.process.notes import Close, End, FailOpen, Inbox, Note, Question, Submit
from octavo.process.stream import Piece, Stream, call, post
from octavo.request import FinishReason
from octavo_platforms.inputs import Ints

log = logging.getLogger("octavo.client")

STARTING = "The engine is starting. Ask again when it is ready."
TICK_S = 0.25
_STOP_S = 1.0
_RETRY_S = 5.0


class Talk:
    """One client's conversation with its engine. `facts` and `down` may be read by all.

    `facts` are those of the engine that answers now, None while none does; then `down` says
    why. `refusal` is why a model could not be loaded.
    """

    def __init__(
        self, place: Place, inbox: Inbox, *, say: Callable[[str], None], stops_engine: bool
    ) -> None:
        self.facts: Facts | None = None
        self.down = STARTING
        self.refusal: OctavoError | None = None
        self.watch = Watch(longest_gap_s=2 * TICK_S)
        self._place = place
        self._inbox = inbox
        self._say = say
        self._stops_engine = stops_engine
        self._incoming = wire_of_engines()
        self._outgoing = wire_of_clients()
        self._open: dict[int, tuple[Stream, int]] = {}
        self._questions: dict[int, Question] = {}
        self._num_questions = 0
        self._is_closed = False

    def run(self) -> None:
        """Talk until told to close. One thread does this."""
        board = Board(self._place.board)
        self._socket = ClientSocket(self._place, wake=self._inbox.fileno)
        self._send(Hello())
        try:
            while not self._is_closed:
                self._socket.wait(wait_s=TICK_S)
                self._follow_notes()
                self._hear()
                if self._socket.is_lost():
                    self._hear()
                    self._lost()
                self.watch.look(board.read(), time.monotonic())
        except Exception as failure:
            log.critical("the client's thread failed", exc_info=failure)
            self._stop_answering(f"The client of the engine failed: {describe(failure)}")
            raise
        finally:
            self._fail_open(LaterError("The client of the engine was closed."))
            self._socket.close()

    def _follow_notes(self) -> None:
        if not select.select([self._inbox.fileno], [], [], 0)[0]:
            return
        for note in self._inbox.take():
            self._follow(note)

    def _follow(self, note: Note) -> None:
        if isinstance(note, Submit):
            self._submit(note.stream)
        elif isinstance(note, End):
            numbers = tuple(each for each in note.numbers if self._open.pop(each, None))
            if numbers:
                self._send(Abort(numbers))
        elif isinstance(note, Question):
            self._ask(note)
        elif isinstance(note, FailOpen):
            numbers = tuple(self._open)
            self._fail_open(note.failure)
            self._send(Abort(numbers))
        elif isinstance(note, Close):
            self._is_closed = True
            if self._stops_engine and self.facts is not None:
                self._stop_engine()

    def _stop_engine(self) -> None:
        """Tell the engine to stop, and wait for its side to close, unless that takes long."""
        self._send(Stop())
        end = time.monotonic() + _STOP_S
        while not self._socket.is_lost() and time.monotonic() < end:
            self._socket.receive()
            self._socket.wait(wait_s=_STOP_S)

    def _submit(self, stream: Stream) -> None:
        if self.facts is None:
            failure = LaterError(self.down, retry_after_s=_RETRY_S)
            call(stream.loop, stream.fail, failure)
            return
        for index, number in enumerate(stream.numbers):
            self._open[number] = (stream, index)
        self._send(Add(tuple(_asks(stream))))

    def _ask(self, question: Question) -> None:
        if self.facts is None:
            call(question.loop, _fail, question, LaterError(self.down, retry_after_s=_RETRY_S))
            return
        self._num_questions += 1
        self._questions[self._num_questions] = question
        self._send(replace(question.control, ticket=self._num_questions))

    def _hear(self) -> None:
        while (frames := self._socket.receive()) is not None:
            self._take(self._incoming.decode(frames))

    def _take(self, message: FromEngine) -> None:
        if isinstance(message, Made):
            self._made(message)
        elif isinstance(message, Refused):
            self._refused(message.numbers, error_of(message.fault))
        elif isinstance(message, StatsTold):
            question = self._questions.pop(message.ticket, None)
            if question is not None:
                call(question.loop, _answer, question, message)
        elif isinstance(message, Said):
            self._say(message.line)
        elif isinstance(message, Ready):
            self.facts = message.facts
            self._say("the engine is ready")
        elif isinstance(message, NotStarted):
            self.refusal = error_of(message.fault)
        elif isinstance(message, Failed):
            self._stop_answering(f"The engine failed: {message.reason}")

    def _made(self, made: Made) -> None:
        for number, cached in zip(made.began.tolist(), made.cached.tolist(), strict=True):
            place = self._open.get(number)
            if place is not None:
                place[0].outputs[place[1]].request.num_cached_tokens = cached
        for number, scored in made.scored:
            place = self._open.get(number)
            if place is not None:
                with place[0].lock:
                    place[0].outputs[place[1]].score(scored)
        ended = dict(zip(made.ended.tolist(), made.reasons.tolist(), strict=True))
        news: dict[Stream, list[Piece]] = {}
        unwanted = []
        for row, (number, token) in enumerate(
            zip(made.numbers.tolist(), made.tokens.tolist(), strict=True)
        ):
            place = self._open.get(number)
            if place is None:
                continue
            stream, index = place
            reason = ended.get(number)
            output = stream.outputs[index]
            with stream.lock:
                if made.logprobs is not None:
                    output.tell(made.logprobs[row : row + 1])
                text = output.push(token, None if reason is None else REASONS[reason])
                is_last = output.finish_reason is not None
            news.setdefault(stream, []).append(Piece(index, text, is_last))
            if is_last:
                del self._open[number]
                if reason is None:
                    unwanted.append(number)
        for number, reason in ended.items():
            place = self._open.pop(number, None)
            if place is not None:
                news.setdefault(place[0], []).append(_ended(*place, REASONS[reason]))
        post(news)
        if unwanted:
            self._send(Abort(tuple(unwanted)))

    def _refused(self, numbers: Sequence[int], refusal: OctavoError) -> None:
        for number in numbers:
            place = self._open.pop(number, None)
            if place is not None:
                stream = place[0]
                call(stream.loop, stream.fail, refusal)

    def _lost(self) -> None:
        self._stop_answering("The engine's process ended")
        self._socket.renew()
        self._send(Hello())

    def _stop_answering(self, why: str) -> None:
        if self.facts is not None:
            self.facts = None
            self.down = why
        self._fail_open(InternalError(self.down))

    def _fail_open(self, failure: OctavoError) -> None:
        streams = {stream for stream, _ in self._open.values()}
        self._open.clear()
        for stream in streams:
            call(stream.loop, stream.fail, failure)
        questions, self._questions = self._questions, {}
        for question in questions.values():
            call(question.loop, _fail, question, failure)

    def _send(self, message: FromClient) -> None:
        self._socket.send(self._outgoing.encode(message))


def _asks(stream: Stream) -> Iterator[Ask]:
    last: Ints | None = None
    for number, output in zip(stream.numbers, stream.outputs, strict=True):
        request = output.request
        is_same = last is not None and np.array_equal(last, request.prompt_ids)
        last = request.prompt_ids
        params = plain_sampling(request.params)
        prompt = None if is_same else last
        yield Ask(number, prompt, params, request.cache_keys, request.priority)


def _ended(stream: Stream, index: int, reason: FinishReason) -> Piece:
    """End an output that gets no further token."""
    with stream.lock:
        text = stream.outputs[index].end(reason)
    return Piece(index, text, True, num_tokens=0)


def _answer(question: Question, told: StatsTold) -> None:
    if not question.answer.done():
        question.answer.set_result(told)


def _fail(question: Question, failure: OctavoError) -> None:
    if not question.answer.done():
        question.answer.set_exception(failure)
