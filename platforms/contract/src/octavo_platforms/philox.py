"""The noise of sampling: a counter-based generator, so that no state has to be kept.

A token's noise is a function of its request's seed, its position and its vocabulary id, and
of nothing else: not of the batch, the device or what was drawn before. Any platform that
computes the same integers draws the same tokens; this file is the reference.

    key      low and high word of the 64-bit seed
    counter  (position, vocabulary id // 4, stream, 0); word `id % 4` belongs to the id

Knows nothing of logits, temperatures or requests.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

_ROUNDS = 10
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_BELOW_ONE = np.float32(1.0 - 2.0**-24)


def philox4x32(counter: Words, key: Words) -> Words:
    """Scramble counters by keys, in ten rounds.

    Shapes: counter [..., 4]; key [..., 2], broadcast against the counters; returns [..., 4].
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
    """
    c0, c1, c2, c3 = (counter[..., word].astype(np.uint64) for word in range(4))
    k0, k1 = (key[..., word].astype(np.uint64) for word in range(2))
    for _ in range(_ROUNDS):
        first = c0 * _MULTIPLIERS[0]
        second = c2 * _MULTIPLIERS[1]
        c0 = (second >> _WORD_BITS) ^ c1 ^ k0
        c1 = second & _LOW_WORD
        c2 = (first >> _WORD_BITS) ^ c3 ^ k1
        c3 = first & _LOW_WORD
        k0 = (k0 + _KEY_STEPS[0]) & _LOW_WORD
        k1 = (k1 + _KEY_STEPS[1]) & _LOW_WORD
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), axis=-1).astype(np.uint32)


def uniform(words: Words) -> npt.NDArray[np.float32]:
    """Turn random words into numbers strictly between 0 and 1: `((x >> 8) + 0.5) * 2**-24`.

    The 256 largest words would round to 1 in float32, whose noise is infinite and would beat
    every logit; they give the largest float32 below 1 instead.
    """
    halves = (words >> np.uint32(8)).astype(np.float32) + np.float32(0.5)
    numbers: npt.NDArray[np.float32] = np.minimum(halves * np.float32(2.0**-24), _BELOW_ONE)
    return numbers


def gumbel(
    seed: npt.ArrayLike, position: npt.ArrayLike, vocab_size: int, stream: int = 0
) -> npt.NDArray[np.float32]:
    """Draw the Gumbel noise of each vocabulary id at a position.

    Shapes: seed and position [...], broadcast; returns [..., V].
    Dtypes: seed uint64; the logarithms are taken in float64 and rounded once.
    Units: `position` is that of the new token in its context; stream 0 chooses tokens.
    """
    seeds, positions = np.broadcast_arrays(np.asarray(seed, np.uint64), np.asarray(position))
    num_quads = -(-vocab_size // 4)
    counter = np.zeros((*positions.shape, num_quads, 4), np.uint32)
    counter[..., 0] = positions[..., None]
    counter[..., 1] = np.arange(num_quads, dtype=np.uint32)
    counter[..., 2] = stream
    key = np.stack([seeds & _LOW_WORD, seeds >> _WORD_BITS], axis=-1).astype(np.uint32)
    words = philox4x32(counter, key[..., None, :])
    drawn = uniform(words.reshape(*positions.shape, num_quads * 4)[..., :vocab_size])
    noise: npt.NDArray[np.float32] = -np.log(-np.log(drawn, dtype=np.float64)).astype(np.float32)
    return noise
