"""Beam search: the likeliest outputs as a whole, rather than token by token.

    prompt ─┬─ a ─┬─ ab          width 2: each beam is continued by its likeliest ids, and of
            │     └─ aa  x       all continuations the two likeliest stay
            └─ b ───  ba

A beam is an ordinary request for one token whose logprobs are asked for; the next step's
requests find the blocks of their beam remembered, so that beams fork where they part and share
what they have in common. An output's score is the sum of its logprobs over the number of its
tokens to the power of the length penalty; end tokens count.

The search ends when no beam that goes on could be among the best, the most tokens are made, or
nothing goes on. A penalty above 0 makes longer outputs better, below 0 worse.

Knows nothing of how logprobs are computed. Source: arXiv 1609.08144 section 7, for the idea of
a length penalty; the form is the one of transformers' generate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from octavo.asking import Loaded, Model, SamplingParams
from octavo.errors import ClientError, InternalError
from octavo.outputs import CompletionOutput, RequestOutput
from octavo.request import FinishReason, Request, RequestId
from octavo.sampling.parameters import is_integer, is_real, refused
from octavo.step import Logprobs

_FORKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearchParams:
    """How to search: how many outputs are kept and given, and how long they may be.

    Units: `max_tokens` output tokens, end token included.
    Raises: ClientError, naming the parameter that is out of its range.
    """

    beam_width: int
    max_tokens: int
    length_penalty: float = 1.0
    ignore_eos: bool = False
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        """Check everything."""
        for param, least in (("beam_width", 1), ("max_tokens", 1)):
            if not is_integer(getattr(self, param), least):
                raise refused(param, getattr(self, param), "an integer from 1")
        if not is_real(self.length_penalty):
            raise refused("length_penalty", self.length_penalty, "a number")


@dataclass(frozen=True, slots=True)
class Beam:
    """An output so far; `reason` says why it goes no further."""

    tokens: tuple[int, ...]
    logprob: float
    reason: FinishReason | None = None

    def score(self, penalty: float, *, length: int | None = None) -> float:
        """Give what beams are compared by, as if of another length where one is given."""
        count = len(self.tokens) if length is None else length
        return self.logprob / float(max(1, count) ** penalty)


@dataclass(slots=True)
class Search:
    """One prompt's beams: those that go on, and those that have ended."""

    prompt_ids: Sequence[int]
    max_tokens: int
    params: BeamSearchParams
    eos_ids: frozenset[int]
    alive: list[Beam] = field(default_factory=lambda: [Beam((), 0.0)])
    ended: list[Beam] = field(default_factory=list)

    def advance(self, told: Sequence[Logprobs]) -> None:
        """Take what follows each beam, and keep the best.

        `told` is of one token of each beam that goes on, with likeliest ids.
        """
        width = self.params.beam_width
        found: list[Beam] = []
        for beam, each in zip(self.alive, told, strict=True):
            ids, logprobs = each.top_ids[0].tolist(), each.top_logprobs[0].tolist()
            for token, logprob in zip(ids[: _FORKS * width], logprobs, strict=False):
                made = (*beam.tokens, token)
                is_end = token in self.eos_ids and not self.params.ignore_eos
                found.append(Beam(made, beam.logprob + logprob, "stop" if is_end else None))
        found.sort(key=lambda beam: -beam.logprob)
        found = found[: _FORKS * width]
        self.ended += [beam for beam in found if beam.reason is not None]
        self.alive = [beam for beam in found if beam.reason is None][:width]
        if self.alive and len(self.alive[0].tokens) == self.max_tokens:
            self.ended += [Beam(beam.tokens, beam.logprob, "length") for beam in self.alive]
            self.alive = []
        self.ended.sort(key=lambda beam: -beam.score(self.params.length_penalty))
        del self.ended[width:]
        if len(self.ended) == width and not self._can_improve():
            self.alive = []

    def _can_improve(self) -> bool:
        """Tell whether a beam that goes on may yet be better than the worst that is kept.

        Logprobs only fall, so its bound is the present one, at the length that flatters it most.
        """
        penalty, worst = self.params.length_penalty, self.ended[-1]
        length = self.max_tokens if penalty > 0 else None
        return any(beam.score(penalty, length=length) > worst.score(penalty) for beam in self.alive)


class BeamSearches:
    """The searches of some prompts, which advance together, a token at a time.

    Whoever has an engine asks it for `contexts`, each for a token by `asked`, and gives what it
    is told to `advance`; when no context is left, the `results` are there.

    Raises: ClientError for a prompt that does not fit.
    """

    def __init__(
        self, model: Model, prompts: Sequence[Sequence[int]], params: BeamSearchParams
    ) -> None:
        room = model.max_context_tokens
        for prompt in prompts:
            if len(prompt) >= room:
                raise ClientError(
                    f"The prompt has {len(prompt)} tokens, but with an output at most {room - 1} "
                    "fit.",
                    param="prompts",
                )
        self.asked = SamplingParams(
            temperature=0, max_tokens=1, logprobs=_FORKS * params.beam_width
        )
        self._model = model
        self._params = params
        self._searches = [
            Search(
                prompt, min(params.max_tokens, room - len(prompt)), params, frozenset(model.eos_ids)
            )
            for prompt in prompts
        ]

    def contexts(self) -> list[list[int]]:
        """Give what every beam that goes on has to be continued from."""
        return [
            [*search.prompt_ids, *beam.tokens] for search in self._searches for beam in search.alive
        ]

    def advance(self, told: Sequence[Logprobs]) -> None:
        """Take what follows each context, in their order, and keep the best."""
        start = 0
        for search in self._searches:
            if count := len(search.alive):
                search.advance(told[start : start + count])
                start += count

    def results(self, name: str) -> list[RequestOutput]:
        """Give the best outputs of each prompt; `name` begins their ids."""
        return [
            RequestOutput(
                request_id=f"{name}.{index}",
                prompt=None,
                prompt_token_ids=list(search.prompt_ids),
                outputs=[
                    _completion(self._model, place, beam, self._params)
                    for place, beam in enumerate(search.ended)
                ],
                finished=True,
                num_cached_tokens=0,
            )
            for index, search in enumerate(self._searches)
        ]


def beam_search(
    model: Loaded, name: str, prompts: Sequence[Sequence[int]], params: BeamSearchParams
) -> list[RequestOutput]:
    """Search for the likeliest outputs of prompts, together; the best first.

    `name` begins the requests' ids.

    Raises: ClientError for a prompt that does not fit, or more beams than the model was loaded to
        tell logprobs for; InternalError where it gives no numbers.
    """
    searches = BeamSearches(model, prompts, params)
    step = 0
    while contexts := searches.contexts():
        searches.advance(_told(model, f"{name}.{step}", contexts, searches.asked))
        step += 1
    return searches.results(name)


def _told(
    model: Loaded, name: str, contexts: Sequence[Sequence[int]], asked: SamplingParams
) -> list[Logprobs]:
    """Compute one token behind each context, and tell how likely it and others were."""
    told: dict[RequestId, Logprobs] = {}
    names: list[RequestId] = []
    try:
        for place, context in enumerate(contexts):
            request = Request(f"{name}.{place}", context, asked)
            names.append(request.request_id)
            model.engine.add(request)
        while len(names) > len(told):
            delta = model.engine.step(patience_s=None)
            for index, request_id in enumerate(delta.request_ids):
                assert delta.logprobs is not None, "who asks for logprobs is told"
                told[request_id] = delta.logprobs[index : index + 1]
            if "error" in delta.finished.values():
                raise broken_beam()
    finally:
        for request_id in (each for each in names if each not in told):
            model.engine.abort(request_id)
    return [told[request_id] for request_id in names]


def broken_beam() -> InternalError:
    """Make the error for a context behind which the model gives no number."""
    return InternalError(
        "The model gave no number that a beam could be continued by. Search again; where that "
        "fails too, the model or its quantisation cannot compute this prompt."
    )


def _completion(model: Model, place: int, beam: Beam, params: BeamSearchParams) -> CompletionOutput:
    shown = beam.tokens[:-1] if beam.reason == "stop" else beam.tokens
    return CompletionOutput(
        index=place,
        text=model.tokenizer.decode(shown, skip_special_tokens=params.skip_special_tokens),
        token_ids=list(beam.tokens),
        finish_reason=beam.reason,
        stop_reason=None,
        cumulative_logprob=beam.logprob,
    )
