"""Mistakes of launches that run ahead: drafts, seats, masks and lengths, each in one thing.

Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle import attention, scores, seats
from octavo_conformance.oracle.attention import Planes
from octavo_conformance.oracle.platform import LAYOUT
from octavo_conformance.oracle.values import Floats, Ints, Words
from octavo_platforms.hooks import hookimpl
from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel, StateKernel
from octavo_platforms.specs import AttentionSpec


class AttendsByTheHostsLengths:
    """Prepares by what the launch says is computed, whoever knows better."""

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel:
        """Give the wrong kernel."""

        def prepare(inputs: StepInputs) -> Ints:
            return inputs.computed.copy()

        def run(
            q: Floats, starts: Ints, computed: Ints, table: Ints, state: Planes, *, prepared: Ints
        ) -> Floats:
            return attention.attention(
                q, starts, prepared, table, state, scale=spec.scale, window=spec.window
            )

        kernel = Kernel(name="planted.attention", run=run, prepare=prepare)
        return StateKernel(name=kernel.name, layouts=(LAYOUT,), at=lambda layout: kernel)


def pick_the_column_before(given: Ints, source: Ints, seats_: Ints, *columns: Ints) -> Ints:
    """Picking that counts columns from zero."""
    return seats.pick(given, np.maximum(source - 1, 0), seats_, *columns)


def owners_by_their_ends(token_ids: Ints, query_starts: Ints) -> Ints:
    """Owners that give a request's first token to the one before."""
    tokens = np.arange(len(token_ids))
    found = np.searchsorted(query_starts, tokens, side="left") - 1
    return np.clip(found, 0, len(query_starts) - 2).astype(np.int32)


def rows_from_the_front(query_starts: Ints, num_drafts: Ints, *, width: int) -> Ints:
    """Draft rows that start at a request's first token."""
    lengths = np.diff(query_starts)
    return seats.draft_rows(query_starts, np.maximum(lengths - 1, 0), width=width)


def accept_every_match(
    token_ids: Ints,
    chosen: Ints,
    query_starts: Ints,
    num_drafts: Ints,
    computed: Ints,
    *,
    width: int,
) -> tuple[Ints, Ints, Ints, Ints]:
    """Accepting that goes on behind a wrong draft."""
    tokens = token_ids.copy()
    for request, drafts in enumerate(num_drafts):
        stop, first = query_starts[request + 1], request * width
        mine = tokens[stop - drafts : stop]
        count = int(np.sum(mine == chosen[first : first + drafts]))
        mine[:count] = chosen[first : first + count]
    return seats.accept(tokens, chosen, query_starts, num_drafts, computed, width=width)


def mask_from_the_highest_bit(logits: Floats, mask: Words) -> Floats:
    """A mask whose words are read from the highest bit down."""
    bits = np.unpackbits(mask[..., None].view(np.uint8), axis=-1, bitorder="little")
    turned = np.packbits(bits.reshape(*mask.shape, 32)[..., ::-1], axis=-1, bitorder="little")
    return scores.mask_logits(logits, turned.view(np.uint32)[..., 0])


def rank_counts_equals(logits: Floats, ids: Ints) -> tuple[Floats, Ints]:
    """A rank that counts the id itself."""
    logprob, rank = scores.score(logits, ids)
    return logprob, rank + np.int32(1)
