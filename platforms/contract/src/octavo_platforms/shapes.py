"""Shape policies: which sizes of a step a platform wants, as data. Core pads to them.

A platform that compiles for fixed shapes names buckets for some symbols of the launch face; a
step is padded up to the next bucket of each. What padding means is the same everywhere:

- requests past the last have no tokens, seat 0 and nothing computed; their table rows and their
  rings are 0,
- tokens past the last request's belong to nobody: their id, position and slot are 0, so
  what they write goes to the null block,
- rows past the last repeat token 0 for the null seat, and nobody reads what they choose or how
  likely they are,
- settings past the last change seat 0, the null seat,
- inputs that an entry declares itself are zero along whichever axes grow, so 0 names nobody's row
  in whatever they point into.

`StepShape` keeps the true sizes; a program gives results for those alone.

Knows nothing of how a platform compiles.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from octavo_platforms.graph import Dim, Graph, Size
from octavo_platforms.inputs import GroupInputs, Ints, SamplingRows, StepInputs
from octavo_platforms.program import ProgramDef
from octavo_platforms.rules import ANY_STEP, StepRules
from octavo_platforms.tensor import Array

Miss = Literal["exact", "fatal"]
Shape = tuple[Size, ...]
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class ShapePolicy:
    """Buckets by symbol (T, R, S, M, U, Q, a program's own), each ascending; without any, exact.

    `miss` says what happens past the largest bucket: the exact size is used, or it is an error.
    `inputs` are the shapes that a program's entries declare their inputs with, by entry and name
    (`of`): they tell which axes of what a launch brings are to be padded, and to what. `least`
    are sizes by symbol that a count is not below. `rules` say what a step may be made of.
    """

    buckets: Mapping[str, Sequence[int]] = field(default_factory=lambda: MappingProxyType({}))
    miss: Miss = "exact"
    inputs: Mapping[str, Mapping[str, Shape]] = field(default_factory=lambda: MappingProxyType({}))
    least: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    rules: StepRules = ANY_STEP

    def of(self, program: ProgramDef) -> ShapePolicy:
        """Give the policy for the launches of one program."""
        shapes = {entry: _declared(graph) for entry, graph in program.entries.items()}
        return replace(self, inputs=MappingProxyType(shapes))

    def size(self, symbol: str, count: int) -> int:
        """Give the size that a count is padded to. Raises: ValueError, for a fatal miss."""
        count = max(count, self.least.get(symbol, 0))
        buckets = self.buckets.get(symbol, ())
        index = bisect_left(buckets, count)
        if index < len(buckets):
            return buckets[index]
        if buckets and self.miss == "fatal":
            raise ValueError(f"{symbol} = {count} is past the largest bucket, {buckets[-1]}")
        return count


EXACT = ShapePolicy()
TABLE: Shape = (Dim("R"), Dim("M"))


def padded(inputs: StepInputs, policy: ShapePolicy) -> StepInputs:
    """Pad a launch up to a policy's buckets; without buckets, give it as it is.

    Where ranks launch together, tokens are padded as those of the rank with most, and a launch
    without requests gets one of padding, so that every rank has the same rows to bring.

    Effects: arrays of the right size already are handed on, and not copied.
    Raises: ValueError, for a size past a largest bucket whose miss is fatal, and for arrays of
        the entry's own where the policy is not of its program.
    """
    rank_tokens = inputs.shape.rank_tokens
    if rank_tokens is not None:
        policy = replace(policy, least={"T": max(rank_tokens), "R": 1, "M": 1})
    elif not policy.buckets:
        return inputs
    shape, sampling = inputs.shape, inputs.sampling
    tokens, requests = policy.size("T", shape.num_tokens), policy.size("R", shape.num_requests)
    rows, scores = policy.size("S", shape.num_rows), policy.size("Q", shape.num_scores)
    settings = policy.size("U", 0 if sampling is None else len(sampling.seats))
    shapes = policy.inputs.get(inputs.entry, {})
    return StepInputs(
        entry=inputs.entry,
        sequence=inputs.sequence,
        shape=shape,
        token_ids=_longer(inputs.token_ids, tokens),
        query_starts=_longer(inputs.query_starts, requests + 1, fill=shape.num_tokens),
        seat=_longer(inputs.seat, requests),
        computed=_longer(inputs.computed, requests),
        token_from=_longer_if(inputs.token_from, tokens),
        computed_from=_longer_if(inputs.computed_from, requests),
        num_drafts=_longer_if(inputs.num_drafts, requests),
        score_rows=_longer_if(inputs.score_rows, scores),
        score_ids=_longer_if(inputs.score_ids, scores),
        rows=_longer(inputs.rows, rows),
        row_seat=_longer_if(inputs.row_seat, rows),
        sampling=_settings(sampling, settings),
        groups={
            name: _group(group, shapes.get(f"block_table.{name}", TABLE), policy)
            for name, group in inputs.groups.items()
        },
        extra={
            name: found if not isinstance(found, np.ndarray) else _own(name, found, inputs, policy)
            for name, found in inputs.extra.items()
        },
    )


def _declared(graph: Graph) -> Mapping[str, Shape]:
    leaves = graph.leaves_of("input")
    return MappingProxyType({leaf.name: graph.tensor_type(leaf.value).shape for leaf in leaves})


def _longer(array: Ints, length: int, *, fill: int = 0) -> Ints:
    count = len(array)
    if count == length:
        return array
    made = np.empty(length, dtype=np.int32)
    made[:count] = array
    made[count:] = fill
    return made


def _longer_if(array: Ints | None, length: int) -> Ints | None:
    return None if array is None else _longer(array, length)


def _more(rings: Ints | None, requests: int) -> Ints | None:
    if rings is None or len(rings) == requests:
        return rings
    made = np.zeros((requests, rings.shape[1]), dtype=np.int32)
    made[: len(rings)] = rings
    return made


def _group(group: GroupInputs, table: Shape, policy: ShapePolicy) -> GroupInputs:
    blocks = _grown(group.block_table, table, policy)
    requests = len(blocks)
    return GroupInputs(
        blocks, _more(group.state_rows, requests), _longer_if(group.lengths, requests)
    )


def _own(name: str, array: Array, inputs: StepInputs, policy: ShapePolicy) -> Array:
    """Pad an input that the entry declares itself; one that it does not declare stays."""
    if inputs.entry not in policy.inputs:
        raise ValueError(
            f"the shape policy knows no entry '{inputs.entry}', and so not which axes of '{name}' "
            "to pad; make it for the program with ShapePolicy.of"
        )
    shape = policy.inputs[inputs.entry].get(name)
    return array if shape is None else _grown(array, shape, policy)


def _grown(array: npt.NDArray[Kind], shape: Shape, policy: ShapePolicy) -> npt.NDArray[Kind]:
    extents = tuple(_extent(*each, policy) for each in zip(shape, array.shape, strict=True))
    if extents == array.shape:
        return array
    made = np.zeros(extents, array.dtype)
    made[tuple(slice(count) for count in array.shape)] = array
    return made


def _extent(size: Size, count: int, policy: ShapePolicy) -> int:
    if not isinstance(size, Dim):
        return count
    known = (count - size.plus) * size.over // size.times
    return size.at({size.symbol: policy.size(size.symbol, known)})


def _settings(sampling: SamplingRows | None, length: int) -> SamplingRows | None:
    if length == 0 or (sampling is not None and len(sampling.seats) == length):
        return sampling
    seats, values = np.zeros(length, np.int32), np.zeros((length, 3), np.uint32)
    if sampling is not None:
        seats[: len(sampling.seats)] = sampling.seats
        values[: len(sampling.seats)] = sampling.values
    return SamplingRows(seats, values)
