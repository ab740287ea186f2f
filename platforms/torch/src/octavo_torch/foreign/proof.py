"""The proof: a loaded module must say the same in chunks and beside others as alone and whole.

The rehearsal sees what a module asks of attention, and not what it does elsewhere: one that
counts positions itself, or looks at its neighbours in a convolution, would give plausible,
wrong text. So the first thing that it computes is held against its own plain attention.

    whole, alone, its own attention   0 1 2 ... 23
    ours                              0 1 2 ... 10
    ours, beside another request                   11 ... 23 | 0 1 2 3

Knows nothing of launches' insides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from octavo_platforms.errors import CannotLoad
from octavo_platforms.inputs import StepInputs
from octavo_platforms.program import StateSpec
from octavo_torch.foreign.steps import Part, step

NUM_TOKENS = 24
# How far apart logits may be, as a part of their spread: rounding stays far below this, and a
# module that computes something else is far above.
LIMIT_OF: Mapping[torch.dtype, float] = MappingProxyType(
    {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
)

Ours = Callable[[StepInputs], Tensor]
Whole = Callable[[Sequence[int]], Tensor]


def prove(
    ours: Ours, whole: Whole, *, name: str, state: StateSpec, num_blocks: int, vocab_size: int
) -> None:
    """Hold paged logits against whole ones. `num_blocks` counts the null block too.

    Shapes: both give logits [S, V]; `whole` for each token that it is given.
    Raises: CannotLoad, where they differ.
    """
    most = max(1, num_blocks - 2) * state.block_size
    tokens = [(index * 7919 + 13) % vocab_size for index in range(min(NUM_TOKENS, most))]
    cut = len(tokens) * 4 // 9
    blocks = list(range(1, 1 - (-len(tokens) // state.block_size)))
    parts = [Part(tokens[cut:], cut, blocks)]
    if num_blocks > len(blocks) + 1:
        parts.append(Part(tokens[:4], 0, [len(blocks) + 1]))
    if cut:
        ours(step([Part(tokens[:cut], 0, blocks)], group=state.name))
    found = ours(step(parts, group=state.name, rows=range(len(tokens) - cut)))
    expected = whole(tokens)[cut:]
    error = _error(found, expected)
    limit = LIMIT_OF[found.dtype]
    if not error <= limit:
        raise CannotLoad(
            f"{name} gives other logits in chunks and beside another request than alone and "
            f"whole: they differ by {error:.2g} of their spread, and {limit:g} is allowed. It "
            "cannot be batched, and is refused."
        )


def _error(found: Tensor, expected: Tensor) -> float:
    """Measure each row's error by its spread, and give the median row's."""
    ours, theirs = (each.float().cpu().numpy() for each in (found, expected))
    apart = np.sqrt(np.mean(np.square(ours - theirs), axis=-1))
    return float(np.median(apart / np.std(theirs, axis=-1)))
