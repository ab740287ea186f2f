"""The trail: names of blocks that were computed lately, where no block remembers them.

A state is worth keeping where two contexts part. Where states stand in blocks, remembered blocks
show how far a context was seen before; where no group holds any, the trail does. It costs the
host a name for each block and the device nothing.

Knows nothing of states, nor of who computed what.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from octavo.kv.pool import BlockName

MOST_NAMES = 1 << 16


class Trail:
    """Names, of which the longest unused are forgotten first."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._names: OrderedDict[BlockName, None] = OrderedDict()

    def __contains__(self, name: BlockName) -> bool:
        return name in self._names

    def add(self, names: Iterable[BlockName]) -> None:
        """Note names, those that are there as used once more."""
        for name in names:
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def forget(self) -> None:
        """Forget all of them."""
        self._names.clear()
