"""An encoder without weights, whose every row can be computed by hand.

A prompt's row is its length, the sum of its tokens each times its place, the token that stands for
it, and how many of its tokens are in another segment than the first:

    [3, 1, 4], its last token asked for  ->  [3, 17, 4, 0]

so a prompt that is cut, or meets another's tokens, has another row. Knows nothing of the pooler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from octavo.models.encoder import POOL, POOLED, TOKEN_TYPES
from octavo.pooler import Form, Pooler, PoolLimits
from octavo.testing.loaded import VOCAB_SIZE, byte_tokenizer
from octavo.vectors import PooledModel
from octavo_platforms.inputs import DeviceRef, Pending, StepInputs, StepResult
from octavo_platforms.platform import Report
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_platforms.tensor import host

WIDTH = 4
FORM = Form(POOL, segments=TOKEN_TYPES)
LIMITS = PoolLimits(max_prompt_tokens=40, max_step_tokens=64, max_requests=4, vocab_size=VOCAB_SIZE)


def row_by_hand(ids: Sequence[int], *, last: bool = False, seconds: int = 0) -> list[float]:
    """Give the row that a prompt must get."""
    total = sum(place * token for place, token in enumerate(ids, 1))
    return [len(ids), total, ids[-1 if last else 0], seconds]


@dataclass(frozen=True, slots=True)
class NullPooledPending:
    """A launch that is read once; `unread` counts those that were not."""

    program: NullPooled
    result: StepResult | None

    def ref(self, output: str) -> DeviceRef:
        """Refuse: nothing stays on a device. Raises: KeyError."""
        raise KeyError(output)

    def ready(self) -> bool:
        """Tell that it is over."""
        return True

    def read(self) -> StepResult:
        """Give the result. Raises: MemoryError, where the program is broken."""
        self.program.num_unread -= 1
        if self.result is None:
            raise MemoryError("the device is full")
        return self.result


@dataclass(slots=True)
class NullPooled:
    """The program: keeps what it was launched with, and fails where it `is_broken`."""

    shape_policy: ShapePolicy = EXACT
    is_broken: bool = False
    entries: frozenset[str] = frozenset({POOL})
    launches: list[StepInputs] = field(default_factory=list)
    num_unread: int = 0
    most_unread: int = 0

    def launch(self, inputs: StepInputs) -> Pending:
        """Compute the rows of the prompts that are no padding."""
        self.launches.append(inputs)
        self.num_unread += 1
        self.most_unread = max(self.most_unread, self.num_unread)
        if self.is_broken:
            return NullPooledPending(self, None)
        segments = inputs.extra[TOKEN_TYPES]
        assert isinstance(segments, np.ndarray), "segments come from the host"
        starts = inputs.query_starts.tolist()
        rows = []
        for request in range(inputs.shape.num_requests):
            own = slice(starts[request], starts[request + 1])
            ids = inputs.token_ids[own]
            places = np.arange(1, len(ids) + 1)
            stands = int(inputs.token_ids[inputs.rows[request]])
            rows.append([len(ids), int((ids * places).sum()), stands, int(segments[own].sum())])
        made = {POOLED: host(np.asarray(rows, np.float32))}
        result = StepResult(np.zeros((0, 1), np.int32), np.zeros(0, np.int32), made)
        return NullPooledPending(self, result)

    def warm_up(self, report: Report) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def null_pooled(program: NullPooled | None = None) -> PooledModel:
    """Give the encoder as a loaded model that pools, with a token for each byte."""
    made = NullPooled() if program is None else program
    return PooledModel(
        pooler=Pooler(made, LIMITS, FORM, max_in_flight=2),
        tokenizer=byte_tokenizer(),
        model_name="null",
        plan="nothing runs anywhere",
        width=WIDTH,
        num_classes=None,
        tells_segments=True,
    )
