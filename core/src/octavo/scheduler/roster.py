"""The roster: the running requests, in the order of their turns, as their seats and their ids.

Both stand side by side and change only when somebody comes or goes, so that a steady step
hands the same ones on. Knows nothing of what requests compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np
import numpy.typing as npt

from octavo.request import RequestId, Turn
from octavo_platforms.inputs import Ints

Places = npt.NDArray[np.intp]


class Roster:
    """Who runs.

    Shapes: seats int32 [R]; ids has as many; at intp [R], the seats as what numpy indexes with
        fastest. All are new where they change, so that whoever has one may keep it.
    """

    def __init__(self) -> None:
        self.seats: Ints = np.zeros(0, np.int32)
        self.at: Places = np.zeros(0, np.intp)
        self.ids: tuple[RequestId, ...] = ()
        self._turns: tuple[Turn, ...] = ()
        self._places: Places = np.zeros(0, np.intp)

    def __len__(self) -> int:
        """Give the number of running requests."""
        return len(self.ids)

    def add(
        self, seats: Sequence[int], ids: Sequence[RequestId], turns: Sequence[Turn]
    ) -> Places | None:
        """Let requests run, each in its turn, and say whether others now stand elsewhere.

        Shapes: gives None where the new ones stand last, else intp [R], for each place of now
            its place when the new ones stood last.
        """
        is_last = not self._turns or not turns or turns[0] > self._turns[-1]
        stood = np.concatenate([self.seats, np.array(seats, np.int32)])
        self._set(stood, (*self.ids, *ids), (*self._turns, *turns))
        if is_last:
            return None
        order = sorted(range(len(self.ids)), key=self._turns.__getitem__)
        places = np.array(order, np.intp)
        self._set(
            self.seats[places],
            tuple(self.ids[place] for place in order),
            tuple(self._turns[place] for place in order),
        )
        return places

    def where(self, is_so: npt.NDArray[np.bool_]) -> Places:
        """Give the places where something is so; where it is so for all, without a search.

        Shapes: is_so [at most R], of those who are in a step.
        """
        count = np.count_nonzero(is_so)
        return self._places[:count] if count == len(is_so) else is_so.nonzero()[0]

    def drop_last(self) -> None:
        """Strike whose turn comes last."""
        self._set(self.seats[:-1], self.ids[:-1], self._turns[:-1])

    def keep(self, stays: npt.NDArray[np.bool_]) -> None:
        """Strike all but those who stay. Shapes: stays [R]."""
        kept = stays.tolist()
        self._set(
            self.seats[stays], tuple(compress(self.ids, kept)), tuple(compress(self._turns, kept))
        )

    def _set(self, seats: Ints, ids: tuple[RequestId, ...], turns: tuple[Turn, ...]) -> None:
        self.seats, self.at, self.ids = seats, seats.astype(np.intp), ids
        self._turns, self._places = turns, np.arange(len(ids))
