"""Drafting from hidden rows, blind: behind each check, two launches that nobody has to read.

    verify ─hidden, chosen, computed─> draft ─hidden, now─> draft.2 ──> the next verify
       └──> read by the host, when that is launched already

The host knows which tokens a prompt goes on with, and of all others only in which row of the
check they are chosen.

Knows nothing of how many drafts were right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from octavo.testing.by_hand import ints, launched, step_of
from octavo.testing.drive import Running
from octavo.testing.pilot import Part
from octavo.testing.toys.checking import WIDTH
from octavo.testing.toys.draft_head import HIDDEN
from octavo_platforms.inputs import Ints, Pending, StepInputs


@dataclass(frozen=True, slots=True)
class Drafting:
    """Launches the toy `draft_head`'s drafts behind a check (`pilot.After`)."""

    running: Running
    made: list[tuple[Sequence[Part], Pending, Pending]] = field(default_factory=list)

    def __call__(self, inputs: StepInputs, parts: Sequence[Part], check: Pending) -> None:
        """Launch both drafts of each request."""
        seats = inputs.seat.tolist()
        after = [_after(part) for part in parts]
        step = step_of(
            self.running.definition, seats, [ids for ids, _ in after], inputs.computed.tolist()
        )
        first = launched(
            self.running,
            replace(
                step,
                entry="draft",
                token_from=np.concatenate([is_chosen for _, is_chosen in after]),
                num_drafts=inputs.num_drafts,
                extra={
                    "hidden": check.ref(HIDDEN),
                    "before": check.ref("computed@verify"),
                    "chosen": check.ref("chosen@verify"),
                    "num_tokens": check.ref("num_tokens"),
                    "choice_at": ints(
                        WIDTH * request + (place if part.is_kept else 0)
                        for request, part in enumerate(parts)
                        for place in range(len(part.token_ids))
                    ),
                },
            ),
        )
        most = (inputs.computed + np.diff(inputs.query_starts)).tolist()
        again = step_of(self.running.definition, seats, [[0]] * len(seats), most)
        extra = {"hidden": first.ref("hidden@draft"), "before": first.ref("now")}
        second = launched(self.running, replace(again, entry="draft.2", extra=extra))
        self.made.append((parts, first, second))

    def drafts(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Read what was drafted, by seat and the number of positions computed before it.

        Launches behind a part of a prompt that does not end it draft for nobody.
        """
        found = {}
        for parts, *launches in self.made:
            now, first = (launches[0].read().outputs[name].array for name in ("now", "draft"))
            second = launches[1].read().outputs["draft"].array
            for index, part in enumerate(parts):
                if part.gives:
                    at = (part.request.seat, int(now[index]))
                    found[at] = (int(first[index]), int(second[index]))
        return found


def _after(part: Part) -> tuple[list[int], Ints]:
    """Give the token after each of a part's, and 1 where the check has chosen it."""
    count = len(part.token_ids)
    if part.is_kept:
        return [0] * count, np.ones(count, np.int32)
    fed, prompt = part.request.num_fed, part.request.prompt
    known = list(prompt[fed + 1 : fed + 1 + count])
    is_chosen = np.zeros(count, np.int32)
    is_chosen[len(known) :] = 1
    return [*known, *[0] * (count - len(known))], is_chosen
