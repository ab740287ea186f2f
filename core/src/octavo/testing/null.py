"""A model without weights, whose every token can be computed by hand.

Its state is the tokens themselves: each launch writes them where the block table says, and
reads the whole context back through the table. The likeliest next token is the sum of each
token times its place, modulo the vocabulary, so a wrong slot, block, position or length gives
a wrong token.

    context [3, 1, 4]  ->  (1*3 + 2*1 + 3*4) % V  =  17 % V

The logits fall by a quarter for each step away from it, around the circle of the vocabulary,
so that sampling has something to choose from. Knows nothing of schedulers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from octavo.detour import LOGITS
from octavo.engine import Engine
from octavo.heart import GROUP, heart
from octavo.request import Request
from octavo.sampling import choose, sampling_words
from octavo.scheduler import Limits
from octavo_platforms.inputs import NULL_BLOCK, DeviceRef, Ints, StepInputs, StepResult
from octavo_platforms.platform import Report
from octavo_platforms.shapes import EXACT
from octavo_platforms.tensor import HostTensor, host

_UNWRITTEN = 1 << 20
_FALL = np.float32(0.25)

Logits = npt.NDArray[np.float32]


def null_logits(context: Sequence[int] | Ints, vocab_size: int) -> Logits:
    """Give the logits of the token after a context.

    Shapes: returns [V].
    """
    places = np.arange(1, len(context) + 1, dtype=np.int64)
    likeliest = int((places * np.asarray(context, np.int64)).sum()) % vocab_size
    ahead = (np.arange(vocab_size) - likeliest) % vocab_size
    return -_FALL * np.minimum(ahead, vocab_size - ahead).astype(np.float32)


def by_hand(
    prompt: Sequence[int],
    *,
    num_tokens: int,
    vocab_size: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """Give the output that a prompt must get, computed without any engine."""
    context = list(prompt)
    words = np.array([sampling_words(temperature, seed)], np.uint32)
    for _ in range(num_tokens):
        logits = null_logits(context, vocab_size)[None]
        position = np.array([len(context)], np.int32)
        context.append(int(choose(logits, words=words, position=position)[0]))
    return context[len(prompt) :]


def output_by_hand(one: Request, num_tokens: int, *, vocab_size: int) -> list[int]:
    """Give the first tokens that a request must get, by its own temperature and seed."""
    assert one.seed is not None, "a request that came has a seed"
    return by_hand(
        one.prompt_ids.tolist(),
        num_tokens=num_tokens,
        vocab_size=vocab_size,
        temperature=one.params.temperature,
        seed=one.seed,
    )


def null_engine(
    limits: Limits,
    *,
    entries: Sequence[str] = ("step",),
    max_in_flight: int = 1,
    seed: int = 0,
) -> Engine:
    """Build a whole engine over the model without weights."""
    program = NullProgram(limits, entries=entries)
    return heart(program, limits, seed=seed).engine(max_in_flight=max_in_flight)


class NullRef:
    """An output that stays where it is, as if on a device."""

    def __init__(self, name: str, array: Logits) -> None:
        self.name = name
        self.array = array


class NullPending:
    """A launch that was over when it was made."""

    def __init__(self, result: StepResult, refs: Mapping[str, NullRef]) -> None:
        self._result = result
        self._refs = refs

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch."""
        return self._refs[output]

    def ready(self) -> bool:
        """Tell that it is over."""
        return True

    def read(self) -> StepResult:
        """Give the result."""
        return self._result


class Kept(Protocol):
    """A state of tokens."""

    def grown(self, inputs: StepInputs, request: int, given: Ints) -> Ints:
        """Write the next tokens of a request where a launch says; give its whole context."""
        ...


class Slots:
    """A token for each slot. Reading one that was never written gives one beyond any vocabulary.

    Raises: AssertionError, where a context reaches the null block.
    """

    def __init__(self, limits: Limits) -> None:
        assert limits.num_blocks is not None, "slots stand in blocks"
        self._slots = np.full((limits.num_blocks, limits.block_size), _UNWRITTEN, np.int32)

    def grown(self, inputs: StepInputs, request: int, given: Ints) -> Ints:
        """Write the next tokens of a request through its block table, and read all back."""
        computed, size = int(inputs.computed[request]), self._slots.shape[1]
        positions = np.arange(computed + len(given))
        blocks = inputs.groups[GROUP].block_table[request, positions // size]
        assert NULL_BLOCK not in blocks, "a context has a block for each of its positions"
        self._slots[blocks[computed:], positions[computed:] % size] = given
        found: Ints = self._slots[blocks, positions % size]
        return found


class NullProgram:
    """The model without weights as a program, on the host.

    Its state is a token for each slot, or what else is `kept`.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        entries: Sequence[str] = ("step",),
        kept: Kept | None = None,
    ) -> None:
        self.entries = frozenset(entries)
        self.shape_policy = EXACT
        self._vocab_size = limits.vocab_size
        self._kept = Slots(limits) if kept is None else kept
        self._words = np.zeros((limits.max_requests + 1, 3), np.uint32)
        self._last = np.full(limits.max_requests + 1, _UNWRITTEN, np.int32)

    def launch(self, inputs: StepInputs) -> NullPending:
        """Run an entry."""
        if inputs.sampling is not None:
            self._words[inputs.sampling.seats] = inputs.sampling.values
        if inputs.entry == "sample":
            given = inputs.extra[LOGITS]
            logits = given.array if isinstance(given, NullRef) else given
            assert isinstance(logits, np.ndarray), "logits are a launch's, or the host's"
            return NullPending(self._sample(inputs, logits.astype(np.float32)), {})
        logits = self._forward(inputs)
        refs = {LOGITS: NullRef(LOGITS, logits)}
        if inputs.entry == "forward":
            return NullPending(_no_tokens({LOGITS: host(logits)}), refs)
        return NullPending(self._sample(inputs, logits), refs)

    def warm_up(self, report: Report) -> None:
        """Do nothing: no launch is slower than another."""

    def close(self) -> None:
        """Do nothing: nothing was opened."""

    def _forward(self, inputs: StepInputs) -> Logits:
        token_ids = self._token_ids(inputs)
        starts = inputs.query_starts.tolist()
        logits = []
        for request, computed in enumerate(inputs.computed.tolist()):
            given = token_ids[starts[request] : starts[request + 1]]
            context = self._kept.grown(inputs, request, given)
            for row in inputs.rows[(inputs.rows >= starts[request])].tolist():
                if row < starts[request + 1]:
                    end = computed + row - starts[request] + 1
                    logits.append(null_logits(context[:end], self._vocab_size))
        return np.stack(logits) if logits else np.zeros((0, self._vocab_size), np.float32)

    def _token_ids(self, inputs: StepInputs) -> Ints:
        """Give the step's tokens, each from the host or from what its seat keeps."""
        if inputs.token_from is None:
            return inputs.token_ids
        seats = np.repeat(inputs.seat, np.diff(inputs.query_starts))
        found: Ints = np.where(inputs.token_from == 0, inputs.token_ids, self._last[seats])
        return found

    def _sample(self, inputs: StepInputs, logits: Logits) -> StepResult:
        owners = np.searchsorted(inputs.query_starts, inputs.rows, side="right") - 1
        position = inputs.computed[owners] + inputs.rows - inputs.query_starts[owners] + 1
        assert inputs.row_seat is not None, "each row has a seat"
        tokens = choose(logits, words=self._words[inputs.row_seat], position=position)
        self._last[inputs.row_seat] = tokens
        return StepResult(tokens[:, None], np.ones(len(tokens), np.int32), {})


class IdleProgram:
    """A program that does no work at all, to measure what the host does around it."""

    entries = frozenset({"step"})
    shape_policy = EXACT

    def launch(self, inputs: StepInputs) -> NullPending:
        """Give token 0 to every row."""
        rows = inputs.shape.num_rows
        tokens = np.zeros((rows, 1), np.int32)
        return NullPending(StepResult(tokens, np.ones(rows, np.int32), {}), {})

    def warm_up(self, report: Report) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _no_tokens(outputs: Mapping[str, HostTensor]) -> StepResult:
    return StepResult(np.zeros((0, 1), np.int32), np.zeros(0, np.int32), outputs)
