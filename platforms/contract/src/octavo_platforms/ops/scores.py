"""Ops on logits beside the choice: forbidding tokens, and telling how likely some were.

Knows nothing of grammars or of who asks for probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, expect, fixed, integer, tensor

WORD_BITS = 32


def words_for(vocab_size: int) -> int:
    """Give how many words of 32 bits hold a bit for each id."""
    return -(-vocab_size // WORD_BITS)


def _mask_logits(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [S, V], mask uint32 [S, ceil(V/32)] -> logits [S, V].

    Id v may be chosen where bit v % 32, counted from the lowest, of word v // 32 is set. The
    logits of all others become minus infinity.
    """
    logits, mask = tensor(types, 0), tensor(types, 1)
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    shape = (logits.shape[0], words_for(fixed(logits.shape[1])))
    expect(mask == TensorType(shape, "uint32"), f"the mask {mask} has no bit for each of {logits}")
    return (logits,)


def _score(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [Q, V], ids int32 [Q] -> logprob float32 [Q], rank int32 [Q].

    The logarithm of each id's share of the softmax, in float32, and how many ids have a larger
    logit. No other value has Q times V elements.
    """
    logits, ids = tensor(types, 0), tensor(types, 1)
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    expect(ids == TensorType(logits.shape[:1], "int32"), f"{ids} is not one id for each row")
    return TensorType(ids.shape, "float32"), ids


def _most_likely(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Logits [S, V]; count L -> ids int32 [S, L], logprobs float32 [S, L].

    The likeliest ids in order, the lower of equal ones first, and the logarithms of their shares
    of the softmax, in float32.
    """
    logits, count = tensor(types, 0), integer(attrs, "count")
    expect(len(logits.shape) == 2, f"logits have two axes, not {logits}")
    expect(0 < count <= fixed(logits.shape[1]), f"{logits} has no {count} likeliest ids")
    shape = (logits.shape[0], count)
    return TensorType(shape, "int32"), TensorType(shape, "float32")


MASK_LOGITS = Op(name="mask_logits", infer=_mask_logits)
SCORE = Op(name="score", infer=_score)
MOST_LIKELY = Op(name="most_likely", infer=_most_likely)

OPS = (MASK_LOGITS, SCORE, MOST_LIKELY)
