"""Requests that go on from what others left behind a prefix: the tokens and logits of whole ones.

    wave 1   stem + a
    wave 2   stem + b    stem + a again    stem + a + its output + c    another        all at once

Blocks give keys and values, snapshots the states that layers overwrite as they go; where a model
has such layers, no prefix is a hit without a snapshot behind it. Prompts are longer than a step.

`Misplaced` is a device on which snapshots go wrong. Knows no family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from octavo.engine import Engine
from octavo.graph.passes.copies import COPY
from octavo.relay import Relay
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.testing.drive import Running
from octavo.testing.law import ENOUGH, hold
from octavo_platforms.inputs import Ints, Pending, StepInputs
from octavo_platforms.platform import Program

from .measured import EXACT, LIMITS, OUTPUT_TOKENS
from .reference import Logits, Reference, reference_logits
from .row import VOCAB

STEM = 80
LIKELIEST = 5

Bools = npt.NDArray[np.bool_]
Wrong = Literal["lost", "another's", "late"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """What came out: tokens that were not computed again, and what was not as it has to be."""

    num_hit_tokens: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's tokens, and what was told of each: the likeliest ids and how likely these were.

    Shapes: ids [N, L]; logprobs [N, L].
    """

    prompt: list[int]
    tokens: list[int]
    ids: Ints
    logprobs: Logits


def resumed(
    running: Running,
    module: Reference,
    *,
    depth: int,
    wrong: Wrong | None = None,
) -> Resumed:
    """Run both waves with so many steps in flight, and hold tokens and logits of all requests."""
    if wrong is not None:
        running = replace(running, program=Misplaced(running.program, wrong))
    engine = running.engine(vocab_size=VOCAB, max_in_flight=depth)
    draw = np.random.default_rng(1)
    stem, a, b, c = (draw.integers(3, VOCAB, size).tolist() for size in (STEM, 5, 9, 7))
    first = _answers(engine, [[*stem, *a]])
    again = [*stem, *a]
    turn = [*again, *first[0].tokens[:20], *c]
    other = draw.integers(3, VOCAB, 70).tolist()
    answers = [*first, *_answers(engine, [[*stem, *b], again, turn, other])]
    return Resumed(engine.stats.prefix_hit_tokens, tuple(_problems(answers, module)))


def _answers(engine: Engine, prompts: Sequence[list[int]]) -> list[Answer]:
    params = SamplingParams(
        temperature=0, max_tokens=OUTPUT_TOKENS, ignore_eos=True, logprobs=LIKELIEST
    )
    for number, prompt in enumerate(prompts):
        engine.add(Request(f"{number}", prompt, params))
    tokens: list[list[int]] = [[] for _ in prompts]
    ids: list[list[Ints]] = [[] for _ in prompts]
    told: list[list[Logits]] = [[] for _ in prompts]
    while engine.has_work:
        delta = engine.step()
        for row, (name, token) in enumerate(
            zip(delta.request_ids, delta.tokens.tolist(), strict=True)
        ):
            tokens[int(name)].append(token)
            assert delta.logprobs is not None, "everybody asked"
            ids[int(name)].append(delta.logprobs.top_ids[row])
            told[int(name)].append(delta.logprobs.top_logprobs[row])
    return [
        Answer(prompt, made, np.array(of), np.array(logprobs))
        for prompt, made, of, logprobs in zip(prompts, tokens, ids, told, strict=True)
    ]


def _problems(answers: Sequence[Answer], module: Reference) -> Iterator[str]:
    num_decided = 0
    for each in answers:
        what, count = f"a prompt of {len(each.prompt)}", len(each.prompt)
        exact = reference_logits(module, each.prompt + each.tokens)[count - 1 : -1]
        held = hold(exact, each.tokens, "float32")
        num_decided += held.num_decided
        if held.wrong or held.num_tokens != OUTPUT_TOKENS:
            yield f"{what}: {len(held.wrong)} of {held.num_decided} decided tokens are wrong"
        error = _error(each, exact)
        if not error <= 2 * EXACT:
            yield f"{what}: a logit is {error:.2g} deviations off"
    if num_decided < ENOUGH * OUTPUT_TOKENS * len(answers):
        yield f"only {num_decided} tokens are decided"


def _error(answer: Answer, exact: Logits) -> float:
    """Give how far off what was told is, in deviations of the reference's logits."""
    largest = exact.max(-1, keepdims=True)
    logprobs = exact - largest - np.log(np.exp(exact - largest).sum(-1, keepdims=True))
    right = np.take_along_axis(logprobs, answer.ids.astype(np.int64), -1)
    return float(np.abs(right - answer.logprobs).max() / np.std(exact))


class Misplaced(Relay):
    """A device that loses what it is to bring back, brings another's, or keeps states too late.

    Rings stand first among a state's rows, so a copy to one of them brings something back.
    """

    def __init__(self, program: Program, wrong: Wrong) -> None:
        super().__init__(program)
        self._change = _CHANGES[wrong]
        self._put_off: list[StepInputs] = []

    def launch(self, inputs: StepInputs) -> Pending:
        """Launch what was put off, and then this, copies otherwise than asked."""
        if inputs.entry != COPY:
            pending = self._program.launch(inputs)
            while self._put_off:
                self._program.launch(self._put_off.pop())
            return pending
        return self._change(self, inputs)

    def lose(self, inputs: StepInputs) -> Pending:
        """Bring zeros back in place of a state."""
        return self._from(inputs, lambda rows, is_back: np.where(is_back, 0, rows))

    def mistake(self, inputs: StepInputs) -> Pending:
        """Bring the row before the right one back."""
        return self._from(inputs, lambda rows, is_back: rows - is_back)

    def put_off(self, inputs: StepInputs) -> Pending:
        """Keep a state behind the step after the one that ends there."""
        is_back = any(_brings_back(inputs, name).any() for name in _groups(inputs))
        if not is_back:
            self._put_off.append(_copied(inputs))
        return self._program.launch(inputs)

    def _from(self, inputs: StepInputs, choose: Callable[[Ints, Bools], Ints]) -> Pending:
        changed = {
            f"copy_from.{name}": choose(
                _rows(inputs, f"copy_from.{name}"), _brings_back(inputs, name)
            ).astype(np.int32)
            for name in _groups(inputs)
        }
        return self._program.launch(replace(inputs, extra={**inputs.extra, **changed}))


_CHANGES = {"lost": Misplaced.lose, "another's": Misplaced.mistake, "late": Misplaced.put_off}


def _groups(inputs: StepInputs) -> list[str]:
    return [each.removeprefix("copy_to.") for each in inputs.extra if each.startswith("copy_to.")]


def _rows(inputs: StepInputs, name: str) -> Ints:
    found = inputs.extra[name]
    assert isinstance(found, np.ndarray), "rows come from the host"
    return found.astype(np.int32)


def _brings_back(inputs: StepInputs, name: str) -> Bools:
    targets = _rows(inputs, f"copy_to.{name}")
    found: Bools = (targets > 0) & (targets <= LIMITS.max_requests)
    return found


def _copied(inputs: StepInputs) -> StepInputs:
    return replace(inputs, extra={name: _rows(inputs, name).copy() for name in inputs.extra})
