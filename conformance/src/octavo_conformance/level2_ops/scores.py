"""Logits beside the choice: forbidding tokens, and telling how likely one was.

Knows nothing of grammars.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise_by_dtype
from octavo_conformance.compare import reals
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import Input, OneNode, S
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.steps import Step, ints
from octavo_platforms.ops.scores import words_for
from octavo_platforms.tensor import DType, HostTensor, host


@promise_by_dtype(level=2, area="mask_logits")
def forbids_ids_whose_bit_is_not_set(bench: Bench, dtype: DType) -> None:
    """All bits, none, one at each end of a word and of the vocabulary, and drawn ones."""
    for vocab_size in (32, 97, 1000):
        num_words = words_for(vocab_size)
        leaves = (
            Input("logits", (S, vocab_size), dtype),
            Input("mask", (S, num_words), "uint32"),
        )
        with optional():
            node = OneNode(bench, "mask_logits", leaves, dtype=dtype)
        mask = random(f"mask {vocab_size}").integers(0, 2**32, (6, num_words), np.uint32)
        mask[0], mask[1], mask[2] = 2**32 - 1, 0, 1
        mask[3] = 1 << 31
        mask[4] = 0
        mask[4, (vocab_size - 1) // 32] = 1 << (vocab_size - 1) % 32
        logits = reals(normal(f"masked {vocab_size}", 6, vocab_size, scale=4.0), dtype)
        node.check(Step(queries=(1,) * 6), logits=logits, mask=HostTensor(mask, "uint32"))


@promise_by_dtype(level=2, area="score")
def tells_how_likely_ids_are(bench: Bench, dtype: DType) -> None:
    """Likely and unlikely ids, ties, large logits, and forbidden ids beside the one asked for."""
    for vocab_size in (97, 4098):
        leaves = (Input("logits", (S, vocab_size), dtype), Input("ids", (S,), "int32"))
        with optional():
            node = OneNode(bench, "score", leaves, dtype=dtype)
        drawn = normal(f"scored {vocab_size}", 16, vocab_size, scale=4.0).astype(np.float32)
        drawn = drawn.round(1)
        ids = random(f"ids {vocab_size}").integers(0, vocab_size, 16)
        ids[:3] = 0, vocab_size - 1, int(drawn[2].argmax())
        drawn[3] = 1.0
        drawn[4] += 300.0
        drawn[5, ids[5] + 1 :] = -np.inf
        node.check(Step(queries=(1,) * 16), logits=reals(drawn, dtype), ids=host(ints(ids)))
