"""The model without weights with more state groups, which find fault with whoever manages them.

    kv       the tokens themselves, as `null` has them; its logits are the model's
    seen     the tokens again; of each context only the last few are read
    memory   one number for each row, made of all tokens so far, overwritten as it goes

There may be no `kv` at all: then a row of `memory` holds all tokens so far, and logits come from
these.

Each launch reads what a window reaches through the table of `seen`, and goes on from the row that
holds the number after the last computed token. What comes out is held against the whole context:
a block that was given back too early, or a snapshot of another prefix, is a wrong token or a wrong
number. The entry `copy` makes rows what others are.

Knows nothing of schedulers or requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo.graph.passes.copies import COPY
from octavo.heart import GROUP
from octavo.kv.rings import blocks_of
from octavo.scheduler import Limits
from octavo.testing.null import NullPending, NullProgram, Slots
from octavo_platforms.inputs import NULL_BLOCK, Ints, StepInputs, StepResult
from octavo_platforms.platform import Report
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.shapes import EXACT

SEEN, MEMORY = "seen", "memory"
_PLANE = (Plane("token", (), "float32", ()),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What groups a hybrid has beside `kv`, and how large they are.

    Units: `window` is how many tokens are seen, None for no such group; `window_blocks` counts
        the null block; `ring` rows a seat, 0 for no such group. Without `has_blocks` there is
        neither `kv` nor a window.
    """

    window: int | None = None
    window_blocks: int = 0
    ring: int = 0
    num_snapshots: int = 0
    has_blocks: bool = True

    def states(self, block_size: int) -> tuple[StateSpec, ...]:
        """Give all groups."""
        found = [StateSpec(GROUP, "paged", _PLANE, 1, block_size)] if self.has_blocks else []
        if self.window is not None:
            found.append(StateSpec(SEEN, "window", _PLANE, 1, block_size, window=self.window))
        if self.ring:
            found.append(StateSpec(MEMORY, "recurrent", _PLANE, 1, ring=self.ring))
        return tuple(found)

    def num_blocks(self, limits: Limits) -> Mapping[str, int]:
        """Give what each group has room for."""
        own = {GROUP: limits.num_blocks or 0, SEEN: self.window_blocks}
        return blocks_of(
            self.states(limits.block_size),
            num_blocks=own,
            max_requests=limits.max_requests,
            num_snapshots=self.num_snapshots,
        )


class HybridProgram:
    """The model without weights on several groups, on the host.

    Raises: AssertionError, where a group does not hold what it has to.
    """

    entries = frozenset({"step", COPY})
    shape_policy = EXACT

    def __init__(self, limits: Limits, sizes: Sizes) -> None:
        self.num_copied = 0
        self._sizes = sizes
        room = sizes.num_blocks(limits)
        self._rows = Rows(room.get(MEMORY, 1), limits.max_context_tokens)
        self._kept = Slots(limits) if sizes.has_blocks else self._rows
        self._program = NullProgram(limits, kept=self._kept)
        self._seen: Ints = np.full((room.get(SEEN, 1), limits.block_size), -1, np.int32)
        self._last: Ints = np.zeros(limits.max_requests + 1, np.int32)

    def launch(self, inputs: StepInputs) -> NullPending:
        """Run an entry."""
        if inputs.entry == COPY:
            sources, targets = (inputs.extra[f"copy_{way}.{MEMORY}"] for way in ("from", "to"))
            assert isinstance(sources, np.ndarray), "rows come from the host"
            assert isinstance(targets, np.ndarray), "rows come from the host"
            self._rows.copy(sources.astype(np.int32), targets.astype(np.int32))
            self.num_copied += int(np.count_nonzero(targets))
            nothing = np.zeros((0, 1), np.int32)
            return NullPending(StepResult(nothing, np.zeros(0, np.int32), {}), {})
        if self._sizes.has_blocks:
            for request in range(len(inputs.seat)):
                self._check(request, inputs)
        pending = self._program.launch(inputs)
        assert inputs.row_seat is not None, "each row has a seat"
        self._last[inputs.row_seat] = pending.read().tokens[:, 0]
        return pending

    def warm_up(self, report: Report) -> None:
        """Do nothing: no launch is slower than another."""

    def close(self) -> None:
        """Do nothing: nothing was opened."""

    def _check(self, request: int, inputs: StepInputs) -> None:
        computed = int(inputs.computed[request])
        start, stop = inputs.query_starts[request : request + 2].tolist()
        given = inputs.token_ids[start:stop].copy()
        if inputs.token_from is not None:
            given[inputs.token_from[start:stop] > 0] = self._last[inputs.seat[request]]
        positions = np.arange(computed + len(given), dtype=np.int32)
        whole = self._kept.grown(inputs, request, given)
        if self._sizes.window is not None:
            table = inputs.groups[SEEN].block_table[request]
            first = max(0, computed - self._sizes.window + 1)
            found = _written(self._seen, table, positions, given)[first:]
            assert (found == whole[first:]).all(), f"what a window reaches is lost: {found}"
        if self._sizes.ring:
            found = self._rows.grown(inputs, request, given)
            assert (found == whole).all(), f"the state after {computed} tokens is that of others"


class Rows:
    """The tokens so far, for each row of the recurrent group.

    Raises: AssertionError, where the row to go on from is one after more or fewer tokens.
    """

    def __init__(self, num_rows: int, max_context_tokens: int) -> None:
        self._tokens: Ints = np.full((num_rows, max_context_tokens), -1, np.int32)
        self._counts: Ints = np.full(num_rows, -1, np.int32)

    def copy(self, sources: Ints, targets: Ints) -> None:
        """Make rows what others are."""
        self._tokens[targets] = self._tokens[sources]
        self._counts[targets] = self._counts[sources]

    def grown(self, inputs: StepInputs, request: int, given: Ints) -> Ints:
        """Go on from the row after the last computed token, and write those after each new one."""
        rows = inputs.groups[MEMORY].state_rows
        assert rows is not None, "a recurrent group has rows"
        ring, computed = rows[request], int(inputs.computed[request])
        before = int(ring[(computed - 1) % len(ring)])
        is_right = not computed or self._counts[before] == computed
        assert is_right, f"the row has {self._counts[before]} tokens, not {computed}"
        whole = np.concatenate((self._tokens[before, :computed], given))
        for count in range(computed + 1, len(whole) + 1):
            row = int(ring[(count - 1) % len(ring)])
            self._tokens[row, :count], self._counts[row] = whole[:count], count
        return whole


def _written(slots: Ints, table: Ints, positions: Ints, given: Ints) -> Ints:
    """Write the last tokens of a context where a table says, and read all of it back."""
    size = slots.shape[1]
    blocks = table[positions // size]
    new = slice(len(positions) - len(given), None)
    assert NULL_BLOCK not in blocks[new], "a token is computed into a block of its own"
    slots[blocks[new], positions[new] % size] = given
    found: Ints = slots[blocks, positions % size]
    return found
