"""Choosing tokens: the same seed gives the same token in any batch, on any device.

Expected tokens come from the reference of the noise. A choice counts where the two best
scores are further apart than the contract's gap; too few such choices prove nothing, and
fail. Knows nothing of stop conditions or of text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import reals, same
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import Input, N, S, U, builder, declare
from octavo_conformance.oracle.choice import scores
from octavo_conformance.oracle.values import Words, widen
from octavo_conformance.steps import Step, ints
from octavo_conformance.verdict import Failed, insist
from octavo_platforms.inputs import Ints
from octavo_platforms.tensor import DType, HostTensor, host
from octavo_platforms.tolerance import gap_limit

NUM_SEATS = 17
DECIDED = 0.99


@promise_by_dtype(level=2, area="sample")
def takes_the_largest_logit_and_the_lowest_of_equals(bench: Bench, dtype: DType) -> None:
    """Greedy rows: first, last and tied ids, and logits of minus infinity."""
    for vocab_size in (97, 1000):
        sampler = Sampler(bench, dtype, vocab_size)
        logits = np.clip(normal(f"greedy {vocab_size}", 8, vocab_size), -3, 3)
        largest = [[0], [vocab_size - 1], [5, 6], [3, vocab_size - 1], [96, 41, 40], [1, 2, 3, 4]]
        for row, ids in enumerate(largest):
            logits[row, ids] = 4.0
        logits[6] = 0.0
        logits[7, :-2], logits[7, -2:] = -np.inf, (-5.0, -4.0)
        expected = [*map(min, largest), 0, vocab_size - 1]
        found = sampler.choose(reals(logits, dtype), range(1, 9), range(8))
        same("greedy tokens", host(found), host(ints(expected)))


@promise_by_dtype(level=2, area="sample")
def gives_no_token_where_nothing_finite_is_largest(bench: Bench, dtype: DType) -> None:
    """Not-a-number, infinity and nothing but minus infinity choose none; other rows choose."""
    sampler = Sampler(bench, dtype, 97)
    logits = np.clip(normal("broken", 8, 97), -3, 3)
    logits[:, 40] = 5.0
    logits[1, 3], logits[3, 96], logits[5], logits[7] = np.nan, np.inf, -np.inf, np.nan
    for temperature in (0.0, 0.01):
        sampler.set(range(1, 9), [temperature] * 8, range(8))
        found = sampler.choose(reals(logits, dtype), range(1, 9), range(8))
        same("tokens", host(found), host(ints([40, -1, 40, -1, 40, -1, 40, -1])))


@promise_by_dtype(level=2, area="sample")
def draws_the_tokens_of_the_reference(bench: Bench, dtype: DType) -> None:
    """Temperatures, seeds of 64 bits and positions up to 131071, in a vocabulary of any size."""
    for vocab_size in (97, 1000, 4098):
        sampler = Sampler(bench, dtype, vocab_size)
        draw = random(f"sampled {vocab_size}")
        for _ in range(4):
            seats = (1 + draw.permutation(16)).tolist()
            seeds = draw.integers(0, 2**64, 16, np.uint64).tolist()
            sampler.set(seats, draw.uniform(0.3, 2.0, 16).tolist(), seeds)
            logits = reals(draw.standard_normal((16, vocab_size)) * 2, dtype)
            positions = [0, 1, 131_070, *draw.integers(0, 131_071, 13).tolist()]
            sampler.check(logits, seats, positions)
        sampler.insist_on_evidence()


@promise_by_dtype(level=2, area="sample")
def reads_both_words_of_a_seed(bench: Bench, dtype: DType) -> None:
    """Seeds that differ in one word only, or in the words' order, are other seeds."""
    sampler = Sampler(bench, dtype, 1000)
    seeds = [0, 1, 1 << 32, (1 << 32) + 1, 1 << 31, 1 << 63, 2**64 - 1, 2**32 - 1, 2**64 - 2**32]
    seats = list(range(1, 10))
    sampler.set(seats, [1.0] * 9, seeds)
    logits = reals(np.repeat(normal("seeds", 1, 1000), 9, axis=0), dtype)
    for position in range(12):
        sampler.check(logits, seats, [position] * 9)
    sampler.insist_on_evidence()


@promise_by_dtype(level=2, area="sample")
def gives_a_seat_its_token_in_any_company(bench: Bench, dtype: DType) -> None:
    """Alone, in another row, beside other seats: settings belong to the seat, and stay."""
    sampler = Sampler(bench, dtype, 500)
    temperatures = [0.7, 0.0, 1.3, 0.0, 1.0, 0.5]
    seats = [11, 3, 16, 1, 8, 2]
    sampler.set(seats, temperatures, range(40, 46))
    logits = reals(normal("company", 6, 500, scale=2.0), dtype)
    together = sampler.check(logits, seats, range(50, 56))
    for order in ([5, 4, 3, 2, 1, 0], [2], [3], [4, 0, 1]):
        rows = HostTensor(logits.array[order], dtype)
        found = sampler.check(rows, [seats[row] for row in order], [50 + row for row in order])
        same(f"rows {order} of six", host(found), host(together[order]))
    sampler.set(seats[:1], [0.0], [0])
    sampler.check(logits, seats, range(50, 56))
    sampler.insist_on_evidence()


class Sampler:
    """The op, the buffer of its seats, and what both should be."""

    def __init__(self, bench: Bench, dtype: DType, vocab_size: int) -> None:
        program = builder(dtype)
        write = program.entry("set")
        settings = write.buffer("seat_sampling", (N, 3), "uint32")
        seats = declare(write, Input("changed", (U,), "int32"))
        write.op("scatter_rows", settings, seats, declare(write, Input("values", (U, 3), "uint32")))
        g = program.entry("choose")
        logits = declare(g, Input("logits", (S, vocab_size), dtype))
        settings = g.buffer("seat_sampling", (N, 3), "uint32")
        seats, positions = (declare(g, Input(n, (S,), "int32")) for n in ("seats", "positions"))
        g.output("tokens", g.one("sample", logits, settings, seats, positions))
        self._running = bench.start(program.finish())
        self._settings = np.zeros((NUM_SEATS, 3), np.uint32)
        self._num_choices = self._num_decided = 0

    def set(
        self, seats: Sequence[int], temperatures: Sequence[float], seeds: Sequence[int]
    ) -> None:
        """Change the settings of seats."""
        values = np.zeros((len(seats), 3), np.uint32)
        values[:, 0] = np.asarray(temperatures, np.float32).view(np.uint32)
        values[:, 1] = [seed % 2**32 for seed in seeds]
        values[:, 2] = [seed // 2**32 for seed in seeds]
        self._settings[seats] = values
        changed = host(ints(seats))
        step = Step(queries=[1] * len(seats))
        self._running.run("set", step, changed=changed, values=HostTensor(values, "uint32"))

    def choose(self, logits: HostTensor, seats: Sequence[int], positions: Sequence[int]) -> Ints:
        """Give the platform's tokens."""
        step = Step(queries=[1] * len(seats), computed=list(positions), seats=list(seats))
        at = {"seats": host(ints(list(seats))), "positions": host(ints(list(positions)))}
        return ints(self._running.run("choose", step, logits=logits, **at)["tokens"].array)

    def check(self, logits: HostTensor, seats: Sequence[int], positions: Sequence[int]) -> Ints:
        """Insist on the reference's token wherever it is decided. Raises: Failed."""
        found = self.choose(logits, seats, positions)
        expected = _reference(logits, [self._settings[seat] for seat in seats], positions)
        for row, (token, is_decided) in enumerate(expected):
            self._num_choices += 1
            self._num_decided += is_decided
            if is_decided and found[row] != token:
                seed = self._settings[seats[row], 1:].tolist()
                raise Failed(
                    f"row {row}, seat {seats[row]}, position {positions[row]}, seed words {seed}: "
                    f"token {found[row]}, the reference says {token}"
                )
        return found

    def insist_on_evidence(self) -> None:
        """Insist that nearly all choices were decided. Raises: Failed."""
        decided, made = self._num_decided, self._num_choices
        insist(decided >= DECIDED * made, f"only {decided} of {made} choices were decided")


def _reference(
    logits: HostTensor, settings: Sequence[Words], positions: Sequence[int]
) -> list[tuple[int, bool]]:
    found = []
    wide = widen(logits).astype(np.float64)
    for row, words, position in zip(wide, settings, positions, strict=True):
        each = scores(row, words, int(position))
        second, first = np.partition(each, -2)[-2:]
        # an undecided greedy row is a tie, and ties have a rule
        is_decided = words[0] == 0 or bool(first - second > gap_limit(each, "float32"))
        found.append((int(np.argmax(each)), is_decided))
    return found
