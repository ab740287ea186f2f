"""Latents: what is written stays to the bit; all heads attend to them as to keys and values.

Expected values come from attention without pages, request by request, in the expanded form; a
kernel may use another, and has the tolerance of the op for it. Knows nothing of which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import close, reals, same
from octavo_conformance.drawing import law, normal
from octavo_conformance.level2_ops.latents import Latents, LatentSizes, rows_of
from octavo_conformance.level2_ops.paged import AHEAD, not_a_number, slots_of, tables_for
from octavo_conformance.oracle.latent import attend_latents
from octavo_conformance.oracle.values import Floats, floats, widen
from octavo_conformance.steps import Step
from octavo_conformance.verdict import insist
from octavo_platforms.tensor import DType, HostTensor

Batch = list[tuple[int, int]]
"""Requests as (new tokens, positions computed before)."""

BATCHES = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 30)), min_size=1, max_size=5)
FEW = LatentSizes(num_blocks=12)


@promise_by_dtype(level=2, area="latent_write")
def keeps_rows_in_their_slots(bench: Bench, dtype: DType) -> None:
    """Scattered slots, one, the ends of a block, padding; all others keep their bits."""
    paged = Latents(bench, dtype, FEW)
    kept = rows_of("kept latents", FEW.num_slots, FEW, dtype)
    paged.write(range(FEW.num_slots), kept)
    for slots in ([7], [FEW.num_slots - 1, 4, 23, 8, 15], range(30, 41), [9, 0, 0, 33, 0]):
        made = rows_of(f"latents {list(slots)}", len(slots), FEW, dtype)
        paged.write(list(slots), made)
        kept.array[list(slots)] = made.array
        own = range(FEW.block_size, FEW.num_slots)  # what the null block holds is undefined
        expected = HostTensor(kept.array[FEW.block_size :], dtype)
        same(f"rows after slots {list(slots)} were written", paged.read(list(own)), expected)


@promise_by_dtype(level=2, area="latent_write")
def keeps_layers_of_latents_apart(bench: Bench, dtype: DType) -> None:
    """Each layer of a group is a state of its own."""
    sizes, slots = LatentSizes(num_blocks=4, layers=3), [4, 9, 6, 15]
    paged = Latents(bench, dtype, sizes)
    made = [rows_of(f"layer {layer}", len(slots), sizes, dtype) for layer in range(3)]
    for layer, rows in enumerate(made):
        paged.write(slots, rows, layer)
    for layer, rows in enumerate(made):
        same(f"rows of layer {layer}", paged.read(slots, layer), rows)


@promise_by_dtype(level=2, area="latent_attention")
def attends_one_token_of_each_request(bench: Bench, dtype: DType) -> None:
    """Contexts that end in, at and just behind a block's last slot, and the very first token."""
    wide = LatentSizes(heads=9, plain=8, rope=8, value=24, latent=32)
    for sizes in (LatentSizes(), wide, LatentSizes(heads=1, value=4)):
        paged = Latents(bench, dtype, sizes)
        _check(paged, [(1, 0), (1, 3), (1, 4), (1, 30), (1, 7), (1, 8)])
        _check(paged, [(1, 17)])


@promise_by_dtype(level=2, area="latent_attention")
def attends_whole_prompts(bench: Bench, dtype: DType) -> None:
    """No token sees the next; each head has its own keys and values of a latent."""
    paged = Latents(bench, dtype, LatentSizes())
    _check(paged, [(13, 0)])
    _check(paged, [(5, 0), (12, 0), (1, 0)])


@promise_by_dtype(level=2, area="latent_attention")
def attends_long_parts_of_prompts(bench: Bench, dtype: DType) -> None:
    """So many new tokens that making keys and values of latents may be worth it."""
    paged = Latents(bench, dtype, LatentSizes())
    _check(paged, [(70, 0), (1, 20), (60, 37)])


@promise_by_dtype(level=2, area="latent_attention")
def attends_any_batch(bench: Bench, dtype: DType) -> None:
    """Prompts, parts of prompts and single tokens together, in any number and order."""
    paged = Latents(bench, dtype, LatentSizes())
    law(bench.examples, BATCHES, lambda batch: _check(paged, batch))


@promise_by_dtype(level=2, area="latent_attention")
def attends_far_back(bench: Bench, dtype: DType) -> None:
    """A context of two thousand tokens beside a short one, in blocks in no order."""
    paged = Latents(bench, dtype, LatentSizes(block_size=16, num_blocks=160, heads=2))
    _check(paged, [(1, 2050), (1, 3), (3, 140)])


@promise_by_dtype(level=2, area="latent_attention")
def survives_large_scores(bench: Bench, dtype: DType) -> None:
    """Scores in the hundreds: the weights are taken relative to the largest."""
    paged = Latents(bench, dtype, LatentSizes(scale=1.0))
    feed = _feed(paged, [(8, 12)], queries=(0.0, 8.0), keys_in_steps=0.5)
    close("latent_attention", feed.attend(paged), feed.expected, dtype)


@promise_by_dtype(level=2, area="latent_attention")
def keeps_a_requests_not_a_number_to_itself(bench: Bench, dtype: DType) -> None:
    """Where one request's context is spoilt, its batch mates attend as if it were not there."""
    sizes = LatentSizes()
    paged = Latents(bench, dtype, sizes)
    for new in (3, 50):
        feed = _feed(paged, [(1, 9), (new, 6), (1, 14), (2, 0)])
        assert feed.step.tables is not None
        spoilt = slots_of(feed.step.tables[1], 6 + new, sizes.block_size)
        paged.write(spoilt.tolist(), not_a_number((6 + new, sizes.width), dtype))
        found = feed.attend(paged)
        mates = [0, *range(1 + new, 4 + new)]
        mine = HostTensor(found.array[mates], dtype)
        close("latent_attention", mine, feed.expected[mates], dtype)
        own = widen(HostTensor(found.array[1 : 1 + new], dtype))
        insist(bool(np.isnan(own).all()), "a context of not-a-number gave numbers")


@promise_by_dtype(level=2, area="latent_attention")
def reads_no_further_than_the_block_table_says(bench: Bench, dtype: DType) -> None:
    """A table wider than any context, padded with the null block, changes nothing."""
    _check(Latents(bench, dtype, LatentSizes()), [(1, 5), (4, 2)], extra_blocks=11)


@promise_by_dtype(level=2, area="latent_attention")
def attends_by_lengths_that_the_device_made(bench: Bench, dtype: DType) -> None:
    """The launch says more than is computed; what lies past the true lengths is not looked at."""
    paged = Latents(bench, dtype, LatentSizes(lengths="device"))
    _check(paged, [(1, 0), (3, 5), (1, 30), (13, 0), (3, 7)], extra_blocks=AHEAD)
    _check(paged, [(1, 17)], extra_blocks=AHEAD)


@dataclass(frozen=True, slots=True)
class _Feed:
    """A filled state's step, its queries, and what has to come out."""

    step: Step
    q: HostTensor
    q_rope: HostTensor
    expected: Floats

    def attend(self, paged: Latents) -> HostTensor:
        return paged.attend(self.step, self.q, self.q_rope)


def _check(paged: Latents, batch: Batch, *, extra_blocks: int = 0) -> None:
    feed = _feed(paged, batch, extra_blocks=extra_blocks)
    close("latent_attention", feed.attend(paged), feed.expected, paged.dtype)


def _feed(
    paged: Latents,
    batch: Batch,
    *,
    queries: tuple[float, float] | None = None,
    keys_in_steps: float | None = None,
    extra_blocks: int = 0,
) -> _Feed:
    """Fill the state for a batch, its rotary keys drawn, or constants in permuted steps."""
    sizes, dtype = paged.sizes, paged.dtype
    contexts = [new + before for new, before in batch]
    tables = tables_for(contexts, sizes, f"latent tables {batch}")
    drawn = normal(f"latents {batch}", sum(contexts), sizes.width)
    if keys_in_steps is not None:
        order = np.random.Generator(np.random.Philox(3)).permutation(len(drawn))
        drawn[:, sizes.latent :] = order[:, None] * keys_in_steps
    rows = reals(drawn, dtype)
    paged.spoil()
    slots = [slots_of(*each, sizes.block_size) for each in zip(tables, contexts, strict=True)]
    paged.write(np.concatenate(slots).astype(np.int32), rows)
    step = Step(
        queries=[new for new, _ in batch],
        computed=[before for _, before in batch],
        tables=[[*table, *[0] * extra_blocks] for table in tables],
    )
    q, q_rope = _queries(step.num_tokens, f"{batch}", paged, queries)
    expected = np.zeros((step.num_tokens, sizes.heads, sizes.value))
    token = place = 0
    for new, before in batch:
        own, past = slice(token, token + new), slice(place, place + new + before)
        asked = (floats(q)[own], floats(q_rope)[own], paged.weight, floats(rows)[past])
        expected[own] = attend_latents(*asked, first=before, scale=sizes.scale)
        token, place = own.stop, past.stop
    return _Feed(step, q, q_rope, expected)


def _queries(
    count: int, name: str, paged: Latents, constants: tuple[float, float] | None
) -> tuple[HostTensor, HostTensor]:
    sizes = paged.sizes
    shapes = ((count, sizes.heads, sizes.plain), (count, sizes.heads, sizes.rope))
    if constants is not None:
        made = [np.full(*each) for each in zip(shapes, constants, strict=True)]
    else:
        made = [normal(f"{part} {name}", *shape) for part, shape in zip("pr", shapes, strict=True)]
    plain, rope = (reals(each, paged.dtype) for each in made)
    return plain, rope
