"""The pace: in which steps prompts have their turn, where they may not be in every one.

                 every step may mix      prompts every third step      never mixed
    singles      1  1  1  1  1  1        1  1  1  1  1  1              1     1     1
    prompts      P  P  P  P  P  P        P        P                       P     P

Prompts have a step to themselves, too, when the rest of a mixed one was too small for a part
that may not be smaller. What has no turn comes at once where the other kind has nothing to do.

Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo_platforms.inputs import Ints
from octavo_platforms.rules import StepRules


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which rows a step may have: those of one token, and longer ones."""

    singles: bool
    prompts: bool


BOTH = Kinds(singles=True, prompts=True)
SINGLES = Kinds(singles=True, prompts=False)
PROMPTS = Kinds(singles=False, prompts=True)


class Pace:
    """Counts steps, and says what the next one is to be tried as."""

    def __init__(self, rules: StepRules) -> None:
        self._mixes = rules.mixes
        self._interval = max(rules.prompt_interval, 1 if rules.mixes else 2)
        self._wants_room = rules.whole_prompts or rules.part_multiple > 1
        self._is_free = self._interval == 1 and not self._wants_room
        self._num_without = self._interval - 1

    def turns(self) -> Sequence[Kinds]:
        """Give the kinds of step to try, in order, until one is not empty."""
        if self._is_free:
            return (BOTH,)
        if self._num_without + 1 < self._interval:
            return (SINGLES, PROMPTS)
        if not self._mixes:
            return (PROMPTS, SINGLES)
        was_crowded_out = self._wants_room and self._num_without >= self._interval
        return (PROMPTS, BOTH) if was_crowded_out else (BOTH,)

    def count(self, num_tokens: Ints) -> None:
        """Count a step of so many tokens for each request. Shapes: [R]."""
        if not self._is_free:
            self._num_without = 0 if num_tokens.max() > 1 else self._num_without + 1
