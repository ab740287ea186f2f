"""The budget: what running requests miss, and how the tokens of a step are shared among them.

First come those one token short, then longer ones in order, each as much as is left and the
rules allow:

    missing   1   1   39   1   200           given   1   1   39   1   22       64 tokens

Knows nothing of requests: only what stands in their seats' rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from octavo.kv.seats import Seats
from octavo.scheduler.pace import Kinds
from octavo_platforms.inputs import Ints
from octavo_platforms.rules import StepRules


class Rest:
    """What is left of a step in which some have got their tokens already.

    Shapes: given int32 [R]. Units: `num_tokens` that nobody has got.
    """

    def __init__(self, rules: StepRules, num_tokens: int, given: Ints) -> None:
        self._rules = rules
        self.num_tokens = num_tokens - int(given.sum())
        self._num_prompts = int(np.count_nonzero(given > 1))
        self._has_singles = bool((given == 1).any())

    @property
    def is_used_up(self) -> bool:
        """Tell whether nobody else can get anything, or no other prompt."""
        return self.num_tokens == 0 or self._num_prompts == self._rules.max_prompts

    def fitting(self, missing: int) -> int:
        """Give how many of a request's missing tokens fit."""
        rules = self._rules
        most = missing if rules.max_part_tokens is None else rules.max_part_tokens
        part = min(missing, most, self.num_tokens)
        if part < missing:
            part = 0 if rules.whole_prompts else part - part % rules.part_multiple
        return part if self._may_add(part) else 0

    def take(self, part: int) -> int:
        """Count tokens as given, no more than fit, and give how many they are."""
        self.num_tokens -= part
        self._num_prompts += part > 1
        self._has_singles |= part == 1
        return part

    def _may_add(self, part: int) -> bool:
        return self._rules.mixes or not (self._num_prompts if part == 1 else self._has_singles)


def missing_of(seats: Seats, at: npt.NDArray[np.intp], kinds: Kinds, *, num_unread: int) -> Ints:
    """Give how many tokens seats can compute next, in a step for some kinds of them.

    Shapes: at and what is given [R]. Units: `num_unread` steps are launched and not read.
    """
    expected = seats.expected.take(at)
    missing: Ints = expected - seats.computed.take(at)
    if num_unread:
        missing[expected >= seats.end.take(at)] = 0
        if seats.num_late or seats.num_wanting:
            promised = expected - seats.known.take(at)
            missing[(promised > 0) & seats.is_late.take(at)] = 0
            if num_unread > 1:  # of a context that is sent, its last token alone may lack
                missing[(promised > 1) & (seats.needs.take(at) > 0)] = 0
    if not kinds.singles:
        missing[missing == 1] = 0
    if not kinds.prompts:
        missing[missing > 1] = 0
    return missing


def shares(missing: Ints, num_tokens: int, rules: StepRules) -> Ints:
    """Give one token to each that misses one, and the rest by order.

    Shapes: missing [R], in order; returns [R]. `num_tokens` suffices for one token each.
    """
    if missing.max(initial=0) <= 1:
        return missing
    given: Ints = np.where(missing == 1, missing, np.int32(0))
    rest = Rest(rules, num_tokens, given)
    for index in np.flatnonzero(missing > 1).tolist():
        if rest.is_used_up:
            break
        given[index] = rest.take(rest.fitting(int(missing[index])))
    return given
