"""Steps made by hand: requests fed in chunks and decoded, for toys that bring more than tokens.

Every seat has blocks of its own, so a step follows from who takes part and how far each one is.
What else a toy wants in a launch, such as other groups or inputs of its own, is put into the step
by a function that the caller gives.

Knows nothing of the scheduler, nor of what a toy's own inputs mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from octavo.kv.rings import groups_of, rings_of
from octavo.sampling import sampling_words
from octavo.testing.drive import Running
from octavo_platforms.inputs import GroupInputs, Ints, Pending, SamplingRows, StepInputs, StepShape
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import padded

Dress = Callable[[StepInputs], StepInputs]


def step_of(
    definition: ProgramDef,
    seats: Sequence[int],
    queries: Sequence[Sequence[int]],
    computed: Sequence[int],
) -> StepInputs:
    """Give a step of some tokens of each request; wanted is the row of each one's last.

    Groups are those of the kinds `paged` and `recurrent`. The entry is left open.
    """
    lengths = [len(query) for query in queries]
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    longest = max((before + new for before, new in zip(computed, lengths, strict=True)), default=0)
    at = ints(seats)
    paged = [state for state in definition.states if state.kind == "paged"]
    most = definition.symbol("M").maximum
    return StepInputs(
        entry="",
        sequence=0,
        shape=StepShape(
            num_tokens=sum(lengths),
            num_requests=len(lengths),
            num_rows=len(lengths),
            max_query=max(lengths, default=0),
            max_context=longest,
            uniform_query=None,
        ),
        token_ids=ints(token for query in queries for token in query),
        query_starts=starts,
        seat=at,
        computed=ints(computed),
        rows=starts[1:] - np.int32(1),
        sampling=None,
        groups={
            state.name: GroupInputs(blocks_of(at, -(-longest // state.block_size), most))
            for state in paged
        }
        | dict(groups_of(at, rings_of(definition.states))),
        row_seat=at.copy(),
    )


def blocks_of(seats: Ints, width: int, most: int) -> Ints:
    """Give the first blocks of seats that have `most` each. Shapes: seats [R]; [R, width]."""
    return (1 + (seats[:, None] - 1) * most + np.arange(width)).astype(np.int32)


def launched(running: Running, inputs: StepInputs) -> Pending:
    """Launch a step, padded as its platform wants it."""
    return running.program.launch(padded(inputs, running.program.shape_policy))


def ints(values: Iterable[int]) -> Ints:
    """Make an int32 array."""
    found: Ints = np.array(list(values), dtype=np.int32)
    return found


@dataclass(frozen=True, slots=True)
class Hands:
    """Runs prompts together, one launch after the other; `dress` completes each step.

    The first prompt sits in seat 1. It takes the road that the program has: `step`, or `forward`
    and `sample`.
    """

    running: Running
    dress: Dress

    def run(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        temperature: float,
        num_tokens: int,
        chunk: int,
    ) -> list[list[int]]:
        """Give the outputs; a prompt's seed is its number."""
        words = np.array([sampling_words(temperature, seed) for seed in range(len(prompts))])
        seats = range(1, len(prompts) + 1)
        sampling: SamplingRows | None = SamplingRows(ints(seats), words.astype(np.uint32))
        contexts = [list(prompt) for prompt in prompts]
        computed = [0] * len(prompts)
        ends = [len(prompt) + num_tokens for prompt in prompts]
        while going := [seat for seat in seats if len(contexts[seat - 1]) < ends[seat - 1]]:
            fed = [computed[seat - 1] for seat in going]
            queries = [
                contexts[seat - 1][before : before + chunk]
                for seat, before in zip(going, fed, strict=True)
            ]
            inputs = self.dress(step_of(self.running.definition, going, queries, fed))
            chosen = self._chosen(replace(inputs, sampling=sampling))
            sampling = None
            for seat, query, token in zip(going, queries, chosen, strict=True):
                computed[seat - 1] += len(query)
                if computed[seat - 1] == len(contexts[seat - 1]):
                    contexts[seat - 1].append(token)
        return [context[len(prompt) :] for context, prompt in zip(contexts, prompts, strict=True)]

    def _chosen(self, inputs: StepInputs) -> list[int]:
        if "step" in self.running.program.entries:
            pending = launched(self.running, replace(inputs, entry="step"))
        else:
            forward = launched(self.running, replace(inputs, entry="forward"))
            extra = {**inputs.extra, "logits": forward.ref("logits")}
            pending = launched(self.running, replace(inputs, entry="sample", extra=extra))
        found: list[int] = pending.read().tokens[:, 0].tolist()
        return found
