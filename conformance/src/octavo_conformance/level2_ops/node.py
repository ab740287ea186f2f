"""A program of one node: made of its leaves, launched, compared with the oracle.

Knows nothing of which op it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo_conformance.bench import Bench
from octavo_conformance.compare import close
from octavo_conformance.oracle import ORACLE
from octavo_conformance.oracle.values import widen
from octavo_conformance.steps import Step
from octavo_platforms.graph import Attr, Dim, Size, Value
from octavo_platforms.inputs import arrays_of
from octavo_platforms.ops import STANDARD, Catalogue
from octavo_platforms.program import Symbol
from octavo_platforms.tensor import Array, DType, HostTensor, host

T, R, S, M, U, N = (Dim(symbol) for symbol in "TRSMUN")
STARTS = Dim("R", plus=1)
ENTRY = "run"


@dataclass(frozen=True, slots=True)
class Input:
    """A leaf that is new at each launch."""

    name: str
    shape: tuple[Size, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Constant:
    """A leaf that never changes: a weight, or data that is part of the graph."""

    name: str
    tensor: HostTensor
    is_literal: bool = False


TOKEN_IDS = Input("token_ids", (T,), "int32")
QUERY_STARTS = Input("query_starts", (STARTS,), "int32")
COMPUTED = Input("computed", (R,), "int32")
ROWS = Input("rows", (S,), "int32")
BLOCK_TABLE = Input("block_table.kv", (R, M), "int32")


def builder(
    dtype: DType, *, max_blocks: int = 64, catalogue: Catalogue = STANDARD
) -> ProgramBuilder:
    """Start a program whose sizes suit the cases."""
    sizes = {"T": 256, "R": 16, "S": 256, "M": max_blocks, "U": 16, "N": 17}
    symbols = tuple(Symbol(name, maximum) for name, maximum in sizes.items())
    return ProgramBuilder("conformance", dtype=dtype, symbols=symbols, catalogue=catalogue)


def declare(g: GraphBuilder, leaf: Input | Constant) -> Value:
    """Declare a leaf in an entry."""
    if isinstance(leaf, Input):
        return g.input(leaf.name, leaf.shape, leaf.dtype)
    if leaf.is_literal:
        return g.literal(leaf.name, leaf.tensor)
    return g.weight(leaf.name, leaf.tensor.shape)


class OneNode:
    """One op, ready to launch. Attributes are those of the op."""

    def __init__(
        self,
        bench: Bench,
        op: str,
        leaves: Sequence[Input | Constant],
        *,
        dtype: DType,
        max_blocks: int = 64,
        **attrs: Attr,
    ) -> None:
        program = builder(dtype, max_blocks=max_blocks)
        g = program.entry(ENTRY)
        outputs = g.op(op, *[declare(g, leaf) for leaf in leaves], **attrs)
        self._dtypes = [g.type_of(value).dtype for value in outputs]
        for index, value in enumerate(outputs):
            g.output(f"out{index}", value)
        weights = {
            leaf.name: leaf.tensor
            for leaf in leaves
            if isinstance(leaf, Constant) and not leaf.is_literal
        }
        self._op, self._leaves, self._attrs = op, leaves, attrs
        self._running = bench.start(program.finish(), weights)

    def outputs(self, step: Step, **given: HostTensor) -> list[HostTensor]:
        """Launch it; give its outputs."""
        found = self._running.run(ENTRY, step, **given)
        return [found[f"out{index}"] for index in range(len(self._dtypes))]

    def check(self, step: Step, **given: HostTensor) -> None:
        """Launch it, and insist on what the oracle says. Raises: Failed."""
        found = self.outputs(step, **given)
        causes = arrays_of(step.inputs(ENTRY, 0, {}))
        values: list[object] = []
        for leaf in self._leaves:
            if isinstance(leaf, Constant):
                values.append(widen(leaf.tensor))
            elif leaf.name in given:
                values.append(widen(given[leaf.name]))
            else:
                values.append(causes[leaf.name])
        made = ORACLE[self._op](*values, **self._attrs)
        exact = made if isinstance(made, tuple) else (made,)
        for output, expected, dtype in zip(found, exact, self._dtypes, strict=True):
            close(self._op, output, expected, dtype)


def numbers(values: Array, dtype: DType) -> HostTensor:
    """Wrap integers as a dtype."""
    return host(values.astype(dtype))
