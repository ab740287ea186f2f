"""Making a step of shares: how far each request gets, who gets a token, and who is promised one.

    seat     computed   given   reached   expected
      3         12        1        13        13      a row: one more token is expected now
      5          0        8         8        20      the rest in later steps

Knows nothing of who is given how much, nor why.
"""

from __future__ import annotations

import numpy as np

from octavo.kv.groups import Holdings
from octavo.kv.seats import Seats
from octavo.scheduler.roster import Roster
from octavo.step import NOBODY, Step
from octavo_platforms.inputs import Ints


def step_of(
    given: Ints,
    admitted: Ints,
    *,
    sequence: int,
    running: Roster,
    seats: Seats,
    holdings: Holdings,
    num_unread: int,
) -> Step | None:
    """Make the step that gives all who run their shares; None, and no change, without any.

    Shapes: given [R], of those who run; admitted [A], the seats that are new among theirs.
    Effects: what their seats have computed and expect is what they will have and expect behind
        this step, and so are the states that are kept of them.
    """
    num_active = np.count_nonzero(given)
    if not num_active:
        return None
    taken, at, ids = running.seats, running.at, running.ids
    if num_active != len(ids):
        active = given.nonzero()[0]
        taken, at, given = taken[active], at[active], given[active]
        ids = tuple(ids[index] for index in active.tolist())
    computed, expected = seats.computed.take(at), seats.expected.take(at)
    reached = computed + given
    seats.computed[at] = reached
    is_whole = reached == expected
    rows = running.where(is_whole)
    promised = NOBODY
    if num_unread:
        promised = running.where(is_whole & (expected > seats.known.take(at)))
    expected += is_whole
    seats.expected[at] = expected
    restored, kept = holdings.copies(at, reached)
    return Step(
        sequence=sequence,
        request_ids=ids,
        seats=taken,
        tickets=seats.tickets.take(at),
        computed=computed,
        num_tokens=given,
        rows=rows,
        promised=promised,
        admitted=admitted,
        restored=restored,
        kept=kept,
    )
