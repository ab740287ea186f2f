"""The noise of sampling in JAX: the same integers as `octavo_platforms.philox`, to the bit.

Words of 32 bits wrap by themselves; the high word of a product is put together from products of
16-bit halves. Only the two logarithms are float64, as in the reference, and rounded once: JAX
is told so for these lines alone.

Knows nothing of logits.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_BELOW_ONE = 1.0 - 2.0**-24

Words = tuple[Array, Array, Array, Array]


def gumbel(seeds: Array, positions: Array, vocab_size: int) -> Array:
    """Draw the Gumbel noise of each vocabulary id at a position, stream 0.

    Shapes: seeds uint32 [S, 2], low and high word; positions [S]; returns float32 [S, V].
    """
    num_quads = -(-vocab_size // 4)
    shape = (len(seeds), num_quads)
    quads = jnp.arange(num_quads, dtype=jnp.uint32)[None]
    zero = jnp.zeros((), jnp.uint32)
    counter = (positions.astype(jnp.uint32)[:, None], quads, zero, zero)
    words = philox4x32(counter, (seeds[:, :1], seeds[:, 1:]))
    drawn = jnp.stack([jnp.broadcast_to(word, shape) for word in words], axis=-1)
    return noise_of(drawn.reshape(len(seeds), num_quads * 4)[:, :vocab_size])


def noise_of(words: Array) -> Array:
    """Turn random words into Gumbel noise. Shapes: uint32 [...]; returns float32 [...]."""
    halves = (words >> 8).astype(jnp.float32) + jnp.float32(0.5)
    uniform = jnp.minimum(halves * jnp.float32(2.0**-24), jnp.float32(_BELOW_ONE))
    with jax.enable_x64(True):
        return (-jnp.log(-jnp.log(uniform.astype(jnp.float64)))).astype(jnp.float32)


def philox4x32(counter: Words, key: tuple[Array, Array]) -> Words:
    """Scramble counters by keys, in ten rounds.

    Shapes: uint32 words that broadcast against each other.
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = multiplied(c0, _MULTIPLIERS[0])
        high1, low1 = multiplied(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + jnp.uint32(_KEY_STEPS[0]), k1 + jnp.uint32(_KEY_STEPS[1])
    return c0, c1, c2, c3


def multiplied(word: Array, factor: int) -> tuple[Array, Array]:
    """Give the high and the low word of a 64-bit product.

    With a = a1 * 2^16 + a0 and b alike: the high word is a1*b1 and what the middle products,
    a1*b0 + a0*b1, and the carry out of a0*b0 bring. No sum here passes 2^32 - 1.
    """
    mask = jnp.uint32(0xFFFF)
    a0, a1 = word & mask, word >> 16
    b0, b1 = jnp.uint32(factor & 0xFFFF), jnp.uint32(factor >> 16)
    middle = a1 * b0 + (a0 * b0 >> 16)
    other = a0 * b1 + (middle & mask)
    high = a1 * b1 + (middle >> 16) + (other >> 16)
    return high, word * jnp.uint32(factor)
