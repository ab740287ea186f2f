"""Wanted: the arrays that come with a launch for rows whose choice follows from more than a seed.

    row_top_k, row_cuts                        top-k, top-p and min-p        for sample_cut
    row_mask, logit_masks                      ids that are allowed          for sample_shaped
    bias_ids, bias_values                      biases, and what is forbidden now
    history, history_spans, row_penalties      what a context holds, but its last token

What never changes of a request is worked out once for its seat. A context's last token is left
to the device, which may be the only one to know it.

Knows nothing of devices, nor of which entry is launched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.kv.seats import Seats
from octavo.sampling.needs import CUT, SCORED, SHAPED, Want
from octavo.sampling.reference import forbidden
from octavo.step import Step
from octavo_platforms.inputs import Ints
from octavo_platforms.ops.scores import WORD_BITS, words_for
from octavo_platforms.tensor import Array

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What of a request's shaping never changes."""

    want: Want
    bias_ids: tuple[int, ...]
    bias_values: tuple[float, ...]
    mask: Words | None


class Wanted:
    """Prepares rows of steps over these seats."""

    def __init__(self, seats: Seats) -> None:
        count = len(seats.known)
        self._seats = seats
        self._tickets = np.zeros(count, np.int64)
        self._fixed: list[_Fixed | None] = [None] * count
        self._top_k: Ints = np.zeros(count, np.int32)
        self._cuts = np.zeros((count, 2), np.float32)
        self._penalties = np.zeros((count, 3), np.float32)
        self._prompts: Ints = np.zeros(count, np.int32)
        self._num_words = 1

    def needs(self, step: Step) -> int:
        """Give the bits of what a step's rows need, and of whether prompts are to be scored."""
        if not self._seats.num_wanting:
            return 0
        needs = self._seats.needs[step.seats]
        of_rows = int(np.bitwise_or.reduce(needs[step.rows], initial=0))
        return of_rows & ~SCORED | int(np.bitwise_or.reduce(needs)) & SCORED

    def cuts(self, step: Step) -> dict[str, Array]:
        """Give what `sample_cut` reads. Shapes: [S] and [S, 2]."""
        seats = step.seats[step.rows]
        self._learn(seats)
        return {"row_top_k": self._top_k[seats], "row_cuts": self._cuts[seats]}

    def shapes(self, step: Step) -> dict[str, Array]:
        """Give what `sample_shaped` reads beside cuts. Shapes: as `models.choosing` declares."""
        seats = step.seats[step.rows]
        self._learn(seats)
        last = step.computed[step.rows] + step.num_tokens[step.rows] - np.int32(1)
        return {
            **self._masks(seats),
            **self._biases(seats, last),
            **self._histories(seats, last),
        }

    def _learn(self, seats: Ints) -> None:
        """Work out what never changes of those who are new in their seats."""
        tickets = self._seats.tickets[seats]
        for seat in seats[self._tickets[seats] != tickets].tolist():
            want = self._seats.wants[seat]
            self._tickets[seat] = self._seats.tickets[seat]
            self._fixed[seat] = None
            self._top_k[seat], self._cuts[seat] = 0, (1, 0)
            self._penalties[seat], self._prompts[seat] = (1, 0, 0), 0
            if want is None:
                continue
            params = want.params
            self._prompts[seat] = want.num_prompt_tokens
            self._num_words = words_for(want.vocab_size)
            if self._seats.needs[seat] & CUT:
                self._top_k[seat] = max(0, params.top_k)
                self._cuts[seat] = params.top_p, params.min_p
            if self._seats.needs[seat] & SHAPED:
                self._penalties[seat] = (
                    params.repetition_penalty,
                    params.presence_penalty,
                    params.frequency_penalty,
                )
                self._fixed[seat] = _fixed(want)

    def _masks(self, seats: Ints) -> dict[str, Array]:
        row_mask: Ints = np.zeros(len(seats), np.int32)
        masks: list[Words] = []
        for row, seat in enumerate(seats.tolist()):
            fixed = self._fixed[seat]
            if fixed is not None and fixed.mask is not None:
                masks.append(fixed.mask)
                row_mask[row] = len(masks)
        everything = np.full(self._num_words, np.iinfo(np.uint32).max, np.uint32)
        return {"row_mask": row_mask, "logit_masks": np.stack([everything, *masks])}

    def _biases(self, seats: Ints, last: Ints) -> dict[str, Array]:
        found: list[tuple[tuple[int, ...], tuple[float, ...]]] = []
        for seat, at in zip(seats.tolist(), last.tolist(), strict=True):
            fixed = self._fixed[seat]
            if fixed is None:
                found.append(((), ()))
                continue
            want = fixed.want
            output = self._seats.contexts[seat, want.num_prompt_tokens : at + 1]
            banned = forbidden(want.params, want.stop_ids, output)
            found.append(
                ((*fixed.bias_ids, *banned), (*fixed.bias_values, *[-np.inf] * len(banned)))
            )
        width = max(1, *(len(ids) for ids, _ in found))
        ids: Ints = np.zeros((len(seats), width), np.int32)
        values = np.zeros((len(seats), width), np.float32)
        for row, (own_ids, own_values) in enumerate(found):
            ids[row, : len(own_ids)] = own_ids
            values[row, : len(own_ids)] = own_values
        return {"bias_ids": ids, "bias_values": values}

    def _histories(self, seats: Ints, last: Ints) -> dict[str, Array]:
        penalties = self._penalties[seats]
        is_penalised = (penalties != (1, 0, 0)).any(axis=1)
        known = np.where(is_penalised, last, 0).astype(np.int32)
        width = max(1, int(known.max(initial=0)))
        return {
            "history": self._seats.contexts[seats, :width],
            "history_spans": np.stack([known, self._prompts[seats]], axis=1),
            "row_penalties": penalties,
        }


def _fixed(want: Want) -> _Fixed:
    bias = want.params.logit_bias or {}
    allowed = want.params.allowed_token_ids
    mask = None if allowed is None else mask_of(allowed, want.vocab_size)
    return _Fixed(want, tuple(bias), tuple(bias.values()), mask)


def mask_of(allowed: Sequence[int], vocab_size: int) -> Words:
    """Pack ids as bits, as `mask_logits` reads them. Shapes: returns [ceil(V/32)]."""
    ids = np.array(allowed, np.int64)
    words: Words = np.zeros(words_for(vocab_size), np.uint32)
    np.bitwise_or.at(words, ids // WORD_BITS, np.uint32(1) << (ids % WORD_BITS).astype(np.uint32))
    return words
