"""Step rules: what a step may be made of, as data. Core makes no step that breaks them.

A request that computes one token goes on where its output is; one that computes more is at its
prompt, or at a part of it. A platform says here what its launches, or a program's, cannot take:

    any mix       [1 1 1 1][7 of a prompt][9 of another]       the default
    max_prompts   [1 1 1 1][7 of a prompt]                     so many prompts at most
    no mixing     [1 1 1 1]      then      [7 of a prompt][9]  never both kinds in one step
    part_multiple [1 1 1 1][16 of 39][1]                       parts, but the last, of whole tiles
    whole_prompts [1 1 1 1][all 39]                            no parts, as an encoder wants it

Knows nothing of who is chosen, nor when.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np

from octavo_platforms.inputs import StepInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRules:
    """What a step may be made of; the default allows everything.

    `max_prompts` is the most requests that compute more than one token in a step, None any
    number; `mixes` allows them beside those that compute one; `part_multiple` divides the length
    of every part of a prompt but its last; `max_part_tokens` is the longest part; `whole_prompts`
    allows no parts; `prompt_interval` is how many steps lie from one with prompts to the next,
    while others have something to do. Tokens that were drafted do not count.

    Raises: ValueError, for rules under which no prompt could ever run.
    """

    max_prompts: int | None = None
    mixes: bool = True
    part_multiple: int = 1
    max_part_tokens: int | None = None
    whole_prompts: bool = False
    prompt_interval: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        most = self.part_multiple if self.max_part_tokens is None else self.max_part_tokens
        counts = (self.max_prompts or 1, self.part_multiple, most, self.prompt_interval)
        if min(counts) < 1 or self.max_prompts == 0:
            raise ValueError(f"every number of {self} has to be at least 1")
        if most < self.part_multiple:
            raise ValueError(
                f"parts of at most {most} tokens cannot be multiples of {self.part_multiple}"
            )
        if self.whole_prompts and self.max_part_tokens is not None:
            raise ValueError(
                f"prompts are computed whole here, so they cannot be cut after "
                f"{self.max_part_tokens} tokens"
            )

    def broken_by(self, inputs: StepInputs) -> str | None:
        """Say which rule a launch breaks; None for one that is as it should be.

        How often prompts come cannot be seen in one launch.
        """
        counts = np.diff(inputs.query_starts)
        if inputs.num_drafts is not None:
            counts = counts - inputs.num_drafts
        is_part = np.isin(inputs.query_starts[1:] - 1, inputs.rows, invert=True)
        num_prompts = int(np.count_nonzero(counts > 1))
        if self.max_prompts is not None and num_prompts > self.max_prompts:
            return f"{num_prompts} prompts in a step, where {self.max_prompts} may be"
        if not self.mixes and 0 < num_prompts < len(counts):
            return "prompts beside single tokens"
        if (counts[is_part] % self.part_multiple).any():
            return f"a part of a prompt that is no multiple of {self.part_multiple} tokens"
        if self.max_part_tokens is not None and counts.max(initial=0) > self.max_part_tokens:
            return f"{counts.max()} tokens of a prompt, where {self.max_part_tokens} may be"
        if self.whole_prompts and is_part.any():
            return "a part of a prompt, where prompts are computed whole"
        return None

    def both(self, other: StepRules) -> StepRules:
        """Give the rules that allow what both of two allow.

        Raises: ValueError, where nothing would be left.
        """
        return StepRules(
            max_prompts=_least(self.max_prompts, other.max_prompts),
            mixes=self.mixes and other.mixes,
            part_multiple=lcm(self.part_multiple, other.part_multiple),
            max_part_tokens=_least(self.max_part_tokens, other.max_part_tokens),
            whole_prompts=self.whole_prompts or other.whole_prompts,
            prompt_interval=max(self.prompt_interval, other.prompt_interval),
        )


ANY_STEP = StepRules()


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
