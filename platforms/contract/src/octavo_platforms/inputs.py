"""The launch face: what a step tells a program, and what comes back.

`StepInputs` says causes: which tokens of which request, how many of its positions are
already computed, which blocks it holds. Effects (positions, slots, context lengths) are
derived by primitives inside the program, because with several launches in flight only the
device knows them. Sizes that a launch needs on the host stand in `StepShape`, so that
nobody waits for a device to learn an integer.

Knows nothing of requests, models or frameworks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from octavo_platforms.tensor import Array, HostTensor

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class StepShape:
    """The sizes of a step, as host integers.

    Units: tokens, requests and rows; `uniform_query` is the number of tokens that every
        request has in this step, None where they differ; `rank_tokens` are those of every rank
        that launches with this one, by number, None where a rank launches alone.
    """

    num_tokens: int
    num_requests: int
    num_rows: int
    max_query: int
    max_context: int
    uniform_query: int | None
    num_scores: int = 0
    rank_tokens: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class SamplingRows:
    """Sampling settings of seats whose settings changed since the last launch.

    Shapes: seats int32 [U]; values uint32 [U, 3]: the bits of the float32 temperature (0 is
        greedy), then the low and the high word of the 64-bit seed.
    """

    seats: Ints
    values: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class GroupInputs:
    """What one state group needs to know in a step.

    Shapes: block_table int32 [R, M]; entries past a request's last block are 0, the null block;
        state_rows int32 [R, W], of a recurrent group alone, which has no blocks: M is 0. They
        are the ring of each request: its state after position p stands in the (p mod W)-th.
        None is no ring; lengths int32 [R], how many slots each request has in a cross group, None
        for any other. A program may declare a group's table with a symbol of its own for M.
    """

    block_table: Ints
    state_rows: Ints | None = None
    lengths: Ints | None = None


class DeviceRef(Protocol):
    """An output that stays on the device, to be an input of a later launch."""

    @property
    def name(self) -> str:
        """Give the name of the output it stands for."""
        ...


@dataclass(frozen=True, slots=True)
class StepInputs:
    """One launch of one entry.

    The arrays may be views of buffers that their owner reuses: a program has copied or
    consumed them when `launch` returns.

    Shapes: token_ids int32 [T]; query_starts int32 [R+1], the first token of each request and
        T; seat int32 [R]; computed int32 [R], positions already in the state; rows int32 [S],
        the tokens whose logits are wanted, ascending; extra: by input name, as the entry
        declared it, a dtype that numpy lacks as its bits (`tensor.storage`).

    row_seat int32 [S] is the seat whose settings choose a row's token, and that keeps it for
    launches to come; None is the null seat, which padding rows have too.

    With launches in flight the device may know more than the host. token_from int32 [T] says
    where a token's id comes from: 0 from token_ids, k from the k-th that its seat keeps;
    computed_from int32 [R] likewise: 0 from `computed`, else from what the seat keeps, of which
    `computed` and `shape.max_context` are then upper bounds. num_drafts int32 [R] says how
    many of a request's tokens, its last, are drafts. None is zeros.

    score_rows and score_ids int32 [Q] ask how likely ids are after tokens of this step, such as
    each of a prompt's after the one before it; a long prompt's are asked for in chunks. Tokens of
    a prefix hit are not in the step: who wants theirs takes no hit there. None is no row.
    """

    entry: str
    sequence: int
    shape: StepShape
    token_ids: Ints
    query_starts: Ints
    seat: Ints
    computed: Ints
    rows: Ints
    sampling: SamplingRows | None
    groups: Mapping[str, GroupInputs]
    extra: Mapping[str, Array | DeviceRef] = field(default_factory=dict)
    token_from: Ints | None = None
    computed_from: Ints | None = None
    num_drafts: Ints | None = None
    score_rows: Ints | None = None
    score_ids: Ints | None = None
    row_seat: Ints | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a launch made.

    An entry's output `tokens` is int32 [S], one for each row, `NO_TOKEN` where its logits choose
    none; or int32 [R, 1+D] beside an output `num_tokens` int32 [R], where requests bring drafts.

    Shapes: tokens int32 [S, 1+D], the tokens made for each row or request; num_tokens int32
        [S], how many of them count; outputs: the entry's other outputs, by name.
    """

    tokens: Ints
    num_tokens: Ints
    outputs: Mapping[str, HostTensor]


class Pending(Protocol):
    """A launch whose result was not read yet."""

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch, without waiting."""
        ...

    def ready(self) -> bool:
        """Tell whether `read` would return at once."""
        ...

    def read(self) -> StepResult:
        """Wait for the result. Launches are read in the order they were made, each once.

        Taps (`is_tap`) stay on the device.
        """
        ...


TAP = "@"
TOKENS = "tokens"
NUM_TOKENS = "num_tokens"
RANK_TOKENS = "rank_tokens"
NO_TOKEN = -1
NULL_BLOCK = 0
NULL_SEAT = 0

_NO_SEATS = np.zeros(0, dtype=np.int32)
_NO_VALUES = np.zeros((0, 3), dtype=np.uint32)


def arrays_of(inputs: StepInputs) -> dict[str, Array | DeviceRef]:
    """Give a launch's arrays by the names that graphs give their input leaves.

    Every entry finds all of them and takes those it declared: `token_ids`, `query_starts`,
    `seat`, `computed`, `token_from`, `computed_from`, `num_drafts`, `score_rows`,
    `score_ids`, `rows`, `row_seat`, `sampling_seats`,
    `sampling_values`, `rank_tokens`, `block_table.<group>`, `state_rows.<group>` and
    `lengths.<group>` where a group has any, and whatever `extra` holds.
    """
    sampling = inputs.sampling
    found: dict[str, Array | DeviceRef] = {
        "token_ids": inputs.token_ids,
        "query_starts": inputs.query_starts,
        "seat": inputs.seat,
        "computed": inputs.computed,
        "token_from": _or_zeros(inputs.token_from, inputs.token_ids),
        "computed_from": _or_zeros(inputs.computed_from, inputs.computed),
        "num_drafts": _or_zeros(inputs.num_drafts, inputs.computed),
        "score_rows": _NO_SEATS if inputs.score_rows is None else inputs.score_rows,
        "score_ids": _NO_SEATS if inputs.score_ids is None else inputs.score_ids,
        "rows": inputs.rows,
        "row_seat": _or_zeros(inputs.row_seat, inputs.rows),
        "sampling_seats": _NO_SEATS if sampling is None else sampling.seats,
        "sampling_values": _NO_VALUES if sampling is None else sampling.values,
        RANK_TOKENS: np.array(inputs.shape.rank_tokens or (inputs.shape.num_tokens,), np.int32),
    }
    for name, group in inputs.groups.items():
        found[f"block_table.{name}"] = group.block_table
        if group.state_rows is not None:
            found[f"state_rows.{name}"] = group.state_rows
        if group.lengths is not None:
            found[f"lengths.{name}"] = group.lengths
    found.update(inputs.extra)
    return found


def is_tap(output: str) -> bool:
    """Tell by its name, such as `hidden@layers.7`, whether an output is for later launches alone.

    `Pending.ref` gives it; `read` leaves it where it is. Whoever wants such rows on the host
    gives the output a plain name when the entry is written.
    """
    return TAP in output


def _or_zeros(found: Ints | None, like: Ints) -> Ints:
    return np.zeros(len(like), np.int32) if found is None else found


def made_tokens(outputs: dict[str, HostTensor]) -> StepResult:
    """Make a result of an entry's outputs, as they were declared.

    Effects: takes `tokens`, `num_tokens` and taps out of the outputs.
    """
    for tap in [name for name in outputs if is_tap(name)]:
        del outputs[tap]
    tokens = np.zeros(0, np.int32)
    if TOKENS in outputs:
        tokens = outputs.pop(TOKENS).array.astype(np.int32, copy=False)
    if NUM_TOKENS in outputs:
        num_tokens = outputs.pop(NUM_TOKENS).array.astype(np.int32, copy=False)
        return StepResult(tokens, num_tokens, outputs)
    return StepResult(tokens[:, None], np.ones(len(tokens), np.int32), outputs)
