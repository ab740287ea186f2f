"""Snapshots by hand: a prefix computed once, its state kept, and another request that continues.

    seat 1   prefix ─┬─ its own tokens ...
                     └─copy─> a row of nobody's ring ─copy─> seat 2's ─ other tokens ...

The blocks of the prefix are shared, as those of any prefix are; the state behind it is not in any
block, so it is copied behind the launch that ends there, before the next one overwrites it. Both
launches and the copy are made before anything is read.

Knows nothing of the scheduler: this is what one has to be able to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from octavo.graph.passes.copies import COPY
from octavo.kv.rings import rows_of
from octavo.testing.by_hand import ints, launched, step_of
from octavo.testing.drive import Running
from octavo_platforms.inputs import GroupInputs, Pending
from octavo_platforms.tensor import to_float


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Requests of one program that continue each other; `kept` is a row of nobody's ring."""

    running: Running
    group: str
    kept: int

    def outputs(self, prompt: Sequence[int], *, seat: int, num_tokens: int) -> list[int]:
        """Give the likeliest tokens of a request alone, from its first token on."""
        return self._decoded(list(prompt), 0, seat=seat, num_tokens=num_tokens, shared=0)

    def continued(
        self,
        prompts: tuple[Sequence[int], Sequence[int]],
        *,
        num_shared: int,
        num_tokens: int,
        is_copied: bool = True,
    ) -> tuple[list[int], list[int]]:
        """Give the outputs of two requests in seats 1 and 2, the second behind the first's prefix.

        Without a copy, the second starts from whatever its own row holds.
        """
        first, second = (list(prompt) for prompt in prompts)
        ours, theirs = (int(rows_of(ints([seat]), 1)[0, 0]) for seat in (1, 2))
        unread = [self._launch(first[:num_shared], 0, seat=1, shared=0)]
        unread.append(self._copy(ours, self.kept))
        unread.append(self._launch(first[num_shared:], num_shared, seat=1, shared=0))
        chosen = [pending.read().outputs for pending in unread][-1]
        token = int(np.argmax(to_float(chosen["logits"])[-1]))
        own = self._decoded(
            [*first, token], len(first), seat=1, num_tokens=num_tokens - 1, shared=0
        )
        if is_copied:
            self._copy(self.kept, theirs).read()
        other = self._decoded(second, num_shared, seat=2, num_tokens=num_tokens, shared=num_shared)
        return [token, *own], other

    def _decoded(
        self, context: list[int], computed: int, *, seat: int, num_tokens: int, shared: int
    ) -> list[int]:
        """Feed what is not computed and decode. Units: `shared` tokens stand in seat 1's blocks."""
        end = len(context) + num_tokens
        while len(context) < end:
            found = self._launch(context[computed:], computed, seat=seat, shared=shared).read()
            computed = len(context)
            context.append(int(np.argmax(to_float(found.outputs["logits"])[-1])))
        return context[end - num_tokens :]

    def _launch(self, tokens: Sequence[int], computed: int, *, seat: int, shared: int) -> Pending:
        definition = self.running.definition
        step = step_of(definition, [seat], [tokens], [computed])
        lender = step_of(definition, [1], [tokens], [computed]).groups["kv"].block_table
        table = step.groups["kv"].block_table.copy()
        num_blocks = shared // definition.state("kv").block_size
        table[:, :num_blocks] = lender[:, :num_blocks]
        groups = {**step.groups, "kv": GroupInputs(table)}
        return launched(self.running, replace(step, entry="forward", groups=groups))

    def _copy(self, source: int, target: int) -> Pending:
        step = step_of(self.running.definition, [], [], [])
        rows = {f"copy_from.{self.group}": ints([source]), f"copy_to.{self.group}": ints([target])}
        return launched(self.running, replace(step, entry=COPY, extra=rows))
