"""Mistakes: ops as they are written wrong. Each differs from the oracle in one thing.

Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from octavo_conformance.oracle import attention, choice, dense, rope, rows
from octavo_conformance.oracle.attention import Planes
from octavo_conformance.oracle.values import Floats, Ints, Words
from octavo_platforms.philox import Words as Counters
from octavo_platforms.philox import uniform

Weigh = Callable[[Floats, Floats, Floats, int, float], Floats]


def forget_bias(x: Floats, weight: Floats, bias: Floats | None = None) -> Floats:
    """A linear layer that reads its bias and does not add it."""
    return dense.linear(x, weight)


def norm_with_eps_outside(x: Floats, weight: Floats, *, eps: float) -> Floats:
    """A norm that adds eps to the root instead of under it."""
    root = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True))
    normed: Floats = x / (root + eps) * weight
    return normed


def norm_without_weight(x: Floats, weight: Floats, *, eps: float) -> Floats:
    """A norm that leaves its weight out."""
    return dense.rms_norm(x, np.ones_like(weight), eps=eps)


def truncating_cast(x: Floats, *, to: str) -> Floats:
    """A cast that cuts the lower half of a float32's bits off, whatever it casts to."""
    bits = x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def swapped_pairs(x: Floats, table: Floats, *, interleaved: bool) -> Floats:
    """Rotary positions that take half-split for interleaved, and the reverse."""
    return rope.rotary(x, table, interleaved=not interleaved)


def whole_head_turned(x: Floats, table: Floats, *, interleaved: bool) -> Floats:
    """Rotary positions that turn the features behind the table's width too."""
    num_copies = -(-x.shape[-1] // table.shape[-1])
    parts = np.split(table, 2, axis=-1)
    half = x.shape[-1] // 2
    wide = np.concatenate([np.tile(part, num_copies)[:, :half] for part in parts], axis=-1)
    return rope.rotary(x, wide, interleaved=interleaved)


def table_of_the_next_position(positions: Ints, frequencies: Floats, *, factor: float) -> Floats:
    """A rotary table that counts from one."""
    return rope.rope_table(positions + np.int32(1), frequencies, factor=factor)


def table_in_16_bits(positions: Ints, frequencies: Floats, *, factor: float) -> Floats:
    """A rotary table whose positions went through bfloat16."""
    rounded = dense.cast(positions.astype(np.float64), to="bfloat16").astype(np.int32)
    return rope.rope_table(rounded, frequencies, factor=factor)


def positions_from_zero(token_ids: Ints, query_starts: Ints, computed: Ints) -> Ints:
    """Positions that forget what was computed before."""
    return rows.positions(token_ids, query_starts, np.zeros_like(computed))


def blocks_in_order(
    positions: Ints, query_starts: Ints, block_table: Ints, *, block_size: int
) -> Ints:
    """Slots that take a request's blocks to lie one behind the other."""
    runs = np.add(block_table[:, :1], np.arange(block_table.shape[1]), dtype=np.int32)
    return rows.slots(positions, query_starts, runs, block_size=block_size)


def add_to_rows(buffer: Words, rows: Ints, values: Words) -> None:
    """A scatter that adds to a row instead of replacing it."""
    buffer[rows] += values


def write_last_token_late(k: Floats, v: Floats, slots: Ints, state: Planes) -> None:
    """A write that puts the last token one slot too far."""
    last = np.arange(len(slots)) == len(slots) - 1
    num_slots = len(attention.by_slot(state[0]))
    attention.kv_write(k, v, np.where(last, (slots + 1) % num_slots, slots), state)


def write_values_as_keys(k: Floats, v: Floats, slots: Ints, state: Planes) -> None:
    """A write that stores the keys twice."""
    attention.kv_write(k, k, slots, state)


def paged(weigh: Weigh, *, is_in_order: bool = False) -> Callable[..., Floats]:
    """Make attention over pages of a function on one head of one request's whole table."""

    def attend(
        q: Floats,
        query_starts: Ints,
        computed: Ints,
        block_table: Ints,
        state: Planes,
        *,
        scale: float,
    ) -> Floats:
        size, found = state[0].shape[1], np.zeros_like(q)
        share = q.shape[1] // state[0].shape[2]
        for request, table in enumerate(block_table):
            blocks = table[0] + np.arange(len(table)) if is_in_order else table
            slots = (blocks[:, None] * size + np.arange(size)).reshape(-1)
            keys, values = (attention.by_slot(p)[slots % len(p) ** 2] for p in state)
            for token in range(query_starts[request], query_starts[request + 1]):
                last = int(computed[request] + token - query_starts[request])
                for head in range(q.shape[1]):
                    of = head // share
                    given = (q[token, head], keys[:, of], values[:, of], last, scale)
                    found[token, head] = weigh(*given)
        return found

    return attend


def right(q: Floats, keys: Floats, values: Floats, last: int, scale: float) -> Floats:
    """Weigh as it should be done: what every mistake below is one step away from."""
    return _soft(keys[: last + 1] @ q * scale, values[: last + 1])


def sees_one_more(q: Floats, keys: Floats, values: Floats, last: int, scale: float) -> Floats:
    """Attention that sees the token behind its own."""
    seen = min(last + 2, len(keys))
    return _soft(keys[:seen] @ q * scale, values[:seen])


def misses_itself(q: Floats, keys: Floats, values: Floats, last: int, scale: float) -> Floats:
    """Attention to the past only, but for the first token."""
    seen = max(last, 1)
    return _soft(keys[:seen] @ q * scale, values[:seen])


def unscaled(q: Floats, keys: Floats, values: Floats, last: int, scale: float) -> Floats:
    """Attention that takes the usual scale for the one it was given."""
    return right(q, keys, values, last, float(len(q)) ** -0.5)


def masked_by_zero(q: Floats, keys: Floats, values: Floats, last: int, scale: float) -> Floats:
    """Attention that gives masked slots the weight 0, and then multiplies by what they hold."""
    scores = np.where(np.arange(len(keys)) <= last, keys @ q * scale, -np.inf)
    return _soft(scores, values)


def without_maximum(q: Floats, keys: Floats, values: Floats, last: int, scale: float) -> Floats:
    """Attention whose exponentials overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.exp(keys[: last + 1] @ q * scale)
        found: Floats = weights @ values[: last + 1] / np.sum(weights)
    return found


def interleaved_groups(
    q: Floats, query_starts: Ints, computed: Ints, block_table: Ints, state: Planes, *, scale: float
) -> Floats:
    """Attention whose head h reads KV head h modulo K."""
    num_kv_heads = state[0].shape[2]
    heads = np.arange(q.shape[1])
    order = np.argsort(heads % num_kv_heads, kind="stable")
    found = np.zeros_like(q)
    found[:, order] = attention.attention(
        q[:, order], query_starts, computed, block_table, state, scale=scale
    )
    return found


def sample_by_row(logits: Floats, seat_sampling: Words, seats: Ints, positions: Ints) -> Ints:
    """Sampling that takes a row's number for its seat."""
    return choice.sample(logits, seat_sampling, np.arange(len(seats), dtype=np.int32), positions)


def sample_one_position_early(
    logits: Floats, seat_sampling: Words, seats: Ints, positions: Ints
) -> Ints:
    """Sampling with the noise of the last token's position, not of the new one's."""
    return choice.sample(logits, seat_sampling, seats, positions - np.int32(1))


def sample_with_half_a_seed(
    logits: Floats, seat_sampling: Words, seats: Ints, positions: Ints
) -> Ints:
    """Sampling that drops a seed's high word."""
    halved = seat_sampling * np.asarray([1, 1, 0], np.uint32)
    return choice.sample(logits, halved, seats, positions)


def sample_the_last_of_equals(
    logits: Floats, seat_sampling: Words, seats: Ints, positions: Ints
) -> Ints:
    """Sampling that gives ties to the highest id."""
    found = choice.sample(logits, seat_sampling, seats, positions)
    for row, seat in enumerate(seats):
        if seat_sampling[seat, 0] == 0:
            found[row] = np.flatnonzero(logits[row] == np.max(logits[row]))[-1]
    return found


def sample_in_nine_rounds(
    logits: Floats, seat_sampling: Words, seats: Ints, positions: Ints
) -> Ints:
    """Sampling whose generator stops one round early."""
    found = np.zeros(len(seats), np.int32)
    num_ids = logits.shape[1]
    counter = np.zeros((-(-num_ids // 4), 4), np.uint32)
    counter[:, 1] = np.arange(len(counter))
    for row, (seat, position) in enumerate(zip(seats, positions, strict=True)):
        counter[:, 0] = position + 1
        temperature = seat_sampling[seat, :1].view(np.float32)[0]
        scores = logits[row].astype(np.float32)
        if temperature > 0:
            words = _nine_rounds(counter, seat_sampling[seat, 1:]).reshape(-1)[:num_ids]
            noise = -np.log(-np.log(uniform(words).astype(np.float64)))
            scores = scores / temperature + noise.astype(np.float32)
        found[row] = np.argmax(scores)
    return found


def _nine_rounds(counter: Counters, key: Words) -> Counters:
    low, half = np.uint64(2**32 - 1), np.uint64(32)
    c0, c1, c2, c3 = (counter[:, word].astype(np.uint64) for word in range(4))
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(9):
        first, second = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (second >> half) ^ c1 ^ k0, second & low
        c2, c3 = (first >> half) ^ c3 ^ k1, first & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _soft(scores: Floats, values: Floats) -> Floats:
    weights = np.exp(scores - np.max(scores))
    found: Floats = weights @ values / np.sum(weights)
    return found
