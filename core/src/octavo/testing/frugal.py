"""What a call costs the interpreter, counted and not timed: instructions, and objects at once.

Between any two instructions of Python the objects that live are counted, so that a list that is
made and dropped within the call is seen as well as one that stays. What is made one by one and
dropped at once takes instructions instead. What only C code ever holds is not seen, nor what the
interpreter takes from a store of its own, as small integers and some tuples.

Knows nothing of what is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True, slots=True)
class Cost:
    """Instructions that ran, and the most objects that lived at once beyond those of before."""

    instructions: int
    objects: int


class _Counter:
    """A trace function that counts."""

    def __init__(self) -> None:
        self.instructions = 0
        self.most = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> _Counter:
        frame.f_trace_opcodes = True
        self.instructions += event == "opcode"
        self.most = max(self.most, sys.getallocatedblocks())
        return self


def cost_of(call: Callable[[], object]) -> Cost:
    """Run something, and say what it cost.

    Effects: nobody else may trace meanwhile, as coverage and debuggers do.
    """
    counter, tracer = _Counter(), sys.gettrace()
    before = sys.getallocatedblocks()
    sys.settrace(counter)
    try:
        call()
    finally:
        sys.settrace(tracer)
    return Cost(counter.instructions, counter.most - before)
