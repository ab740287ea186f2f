"""The noise of sampling in torch: the same integers as `octavo_platforms.philox`, to the bit.

Words of 32 bits live in int64. A product of two of them wraps modulo 2^64, which leaves its
low word right; its high word is right once the sign that the shift brings is masked away.
Words are masked only where a wrong high half would be multiplied or read.

Knows nothing of logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 10
_LOW_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_BELOW_ONE = 1.0 - 2.0**-24


def gumbel(seeds: Tensor, positions: Tensor, vocab_size: int) -> Tensor:
    """Draw the Gumbel noise of each vocabulary id at a position, stream 0.

    Shapes: seeds int64 [S, 2], low and high word; positions [S]; returns float32 [S, V].
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
    """
    num_quads = -(-vocab_size // 4)
    c0 = positions.long()[:, None]
    c1 = torch.arange(num_quads, device=seeds.device)[None]
    zero = torch.zeros_like(c0)
    words = philox4x32((c0, c1, zero, zero), (seeds[:, :1], seeds[:, 1:]))
    drawn = torch.stack([word.expand(len(seeds), num_quads) for word in words], -1)
    shifted = drawn.view(len(seeds), -1)[:, :vocab_size] >> 8
    uniform = shifted.float().add_(0.5).mul_(2.0**-24).clamp_(max=_BELOW_ONE)
    return uniform.double().log_().neg_().log_().neg_().float()


def philox4x32(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scramble counters by keys, in ten rounds.

    Shapes: int64 words that broadcast against each other.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = (word & _LOW_WORD for word in key)
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0 = _masked((second >> 32) ^ (c1 ^ k0))
        c2 = _masked((first >> 32) ^ (c3 ^ k1))
        c1, c3 = second, first
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW_WORD, (k1 + _KEY_STEPS[1]) & _LOW_WORD
    return c0, _masked(c1), c2, _masked(c3)


def _masked(word: Tensor) -> Tensor:
    return word & _LOW_WORD
