"""A recurrent state and the entries that use it, as cases drive them.

    mix    one mixer over requests' tokens, from the rows named to the rows named
    copy   state_copy: rows to rows

A state starts full of not-a-number, the null row included: whatever a kernel reads without
having been told to shows. What has to come out is what the oracle makes of a request's whole
run of tokens, alone and from zeros. Knows nothing of what a case proves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from octavo_conformance.bench import Bench, Running
from octavo_conformance.case import FLOATS, Case, promise_by_dtype
from octavo_conformance.compare import close, reals
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import QUERY_STARTS, Input, R, T, builder, declare
from octavo_conformance.level2_ops.optional import optional
from octavo_conformance.oracle import ORACLE
from octavo_conformance.oracle.recurrent import Rows
from octavo_conformance.oracle.values import Floats, floats
from octavo_conformance.steps import Step, ints
from octavo_platforms.graph import Attr, Dim
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import DType, HostTensor, host

RING = 3
NUM_ROWS = 14
WIDE: DType = "float32"
C = Dim("C")
COPIED = tuple(Input(name, (C,), "int32") for name in ("copy_from", "copy_to"))

Tokens = dict[str, HostTensor]
_NOTHING: Mapping[DType, float | int] = MappingProxyType(
    {"float32": np.nan, "float16": np.nan, "bfloat16": 0x7FC0}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer:
    """A mixer at one size: operands by name and shape, tokens' or the model's, and its plane.

    `behind` are those that stand behind the state. Operands named `dt` are float32 and positive,
    as what makes them is; everything else has the dtype of the case.
    """

    op: str
    tokens: Mapping[str, tuple[int, ...]]
    model: Mapping[str, tuple[int, ...]]
    order: str
    plane: tuple[int, ...]
    axes: str
    behind: str = ""
    state_dtype: DType | None = WIDE
    attrs: Mapping[str, Attr] = field(default_factory=lambda: MappingProxyType({}))

    def drawn(self, name: str, count: int, dtype: DType) -> Tokens:
        """Draw tokens that belong to a name."""
        return {
            each: _drawn(each, f"{name} {self.op} {each}", (count, *shape), dtype)
            for each, shape in self.tokens.items()
        }

    def constants(self, dtype: DType) -> Tokens:
        """Draw what belongs to the model."""
        return {
            each: _drawn(each, f"{self.op} {each}", shape, dtype)
            for each, shape in self.model.items()
        }


def _drawn(operand: str, name: str, shape: tuple[int, ...], dtype: DType) -> HostTensor:
    values = normal(name, *shape)
    if operand == "dt":
        return host(np.abs(values) * np.float32(0.5))
    if operand == "beta":
        return reals(np.exp(-np.abs(values)), dtype)
    return reals(values, dtype)


MIXERS: tuple[Mixer, ...] = (
    Mixer(
        op="causal_conv",
        tokens={"x": (6,)},
        model={"weight": (6, 4), "bias": (6,)},
        order="x weight",
        behind="bias",
        plane=(3, 6),
        axes="WC",
        state_dtype=None,
    ),
    Mixer(
        op="causal_conv",
        tokens={"x": (5,)},
        model={"weight": (5, 2)},
        order="x weight",
        plane=(1, 5),
        axes="WC",
    ),
    Mixer(
        op="selective_scan",
        tokens={"x": (4, 3), "dt": (4,), "b": (2, 5), "c": (2, 5)},
        model={"a_log": (4,), "d": (4,)},
        order="x dt a_log b c d",
        plane=(4, 3, 5),
        axes="HDN",
    ),
    Mixer(
        op="selective_scan",
        tokens={"x": (6, 1), "dt": (6,), "b": (1, 4), "c": (1, 4)},
        model={"a_log": (6, 4), "d": (6,)},
        order="x dt a_log b c d",
        plane=(6, 1, 4),
        axes="HDN",
    ),
    Mixer(
        op="gated_delta",
        tokens={"q": (2, 4), "k": (2, 4), "v": (4, 3), "dt": (4,), "beta": (4,)},
        model={"a_log": (4,)},
        order="q k v dt a_log beta",
        plane=(4, 4, 3),
        axes="HKD",
        attrs={"scale": 0.5, "eps": 1e-6},
    ),
    Mixer(
        op="gated_delta",
        tokens={"q": (2, 3), "k": (2, 3), "v": (2, 2), "dt": (2,), "beta": (2,)},
        model={"a_log": (2,)},
        order="q k v dt a_log beta",
        plane=(2, 3, 2),
        axes="HKD",
        attrs={"scale": 0.3, "eps": None},
    ),
)

Law = Callable[[Bench, DType, Mixer], None]


def of_numbers(law: Law) -> tuple[Case, ...]:
    """Make cases of a law about numbers, one for each op and dtype; one dtype tries every size."""
    return tuple(
        case
        for sizes in _by_op()
        for dtype in FLOATS
        for case in _cases(law, sizes if dtype == WIDE else sizes[:1], dtype)
    )


def of_rows(law: Law) -> tuple[Case, ...]:
    """Make cases of a law about rows, one for each op: dtypes and other sizes change none."""
    return tuple(case for sizes in _by_op() for case in _cases(law, sizes[:1], WIDE))


def _by_op() -> list[list[Mixer]]:
    ops = dict.fromkeys(mixer.op for mixer in MIXERS)
    return [[mixer for mixer in MIXERS if mixer.op == op] for op in ops]


def _cases(law: Law, sizes: Sequence[Mixer], dtype: DType) -> tuple[Case, ...]:
    return promise_by_dtype(level=2, area=sizes[0].op, dtypes=(dtype,))(_named(law, sizes))


def _named(law: Law, sizes: Sequence[Mixer]) -> Callable[[Bench, DType], None]:
    def each(bench: Bench, dtype: DType) -> None:
        for mixer in sizes:
            law(bench, dtype, mixer)

    each.__name__, each.__doc__ = law.__name__, law.__doc__
    return each


class Mixing:
    """A program with one mixer on one state, running, every row not-a-number if it is spoilt."""

    def __init__(self, bench: Bench, dtype: DType, mixer: Mixer, *, is_spoilt: bool = True) -> None:
        self.mixer, self.dtype = mixer, dtype
        own = mixer.state_dtype or dtype
        other = Plane("other", (2,), own, ("O",))
        planes = (other, Plane("own", mixer.plane, own, tuple(mixer.axes)))
        state = StateSpec("memory", "recurrent", planes, 1, ring=RING)
        self._model = mixer.constants(dtype)
        self._running = self._start(bench, state)
        if is_spoilt:
            self.spoil(range(NUM_ROWS))

    def mix(
        self, queries: Sequence[int], tokens: Tokens, source: Sequence[int], targets: object
    ) -> HostTensor:
        """Mix requests' tokens, one after the other. Shapes: source [R], targets [R, W]."""
        rows = {"source": host(ints(source)), "targets": host(ints(targets))}
        return self._running.run("mix", Step(queries=queries), **tokens, **rows)["out"]

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy rows."""
        given = {"copy_from": host(ints(sources)), "copy_to": host(ints(targets))}
        self._running.run("copy", Step(queries=(1,)), **given)

    def spoil(self, rows: Sequence[int]) -> None:
        """Make rows not-a-number, one after the other."""
        count = max(RING, 4)  # as many tokens as the longest memory of a mixer has
        nothing = {
            name: HostTensor(np.full_like(each.array, _NOTHING[each.dtype]), each.dtype)
            for name, each in self.mixer.drawn("nothing", count, self.dtype).items()
        }
        for row in rows:
            self.mix([count], nothing, [0], [[0] * (RING - 1) + [row]])

    def exact(self, tokens: Tokens) -> Floats:
        """Say what has to come out of a request's whole run of tokens."""
        mixer, wide = self.mixer, {name: floats(each) for name, each in tokens.items()}
        wide |= {name: floats(each) for name, each in self._model.items()}
        count = len(next(iter(tokens.values())).array)
        rows = Rows(ints([0, count]), ints([0]), ints([[0]]), np.zeros((1, *mixer.plane)))
        operands = [wide[name] for name in (mixer.order + " " + mixer.behind).split()]
        made = ORACLE[mixer.op](*operands, rows=rows, **mixer.attrs)
        assert isinstance(made, np.ndarray)
        return made

    def check(self, found: HostTensor, exact: Floats) -> None:
        """Compare within the tolerance of the op. Raises: Failed."""
        close(self.mixer.op, found, exact, self.dtype)

    def _start(self, bench: Bench, state: StateSpec) -> Running:
        program = builder(self.dtype)
        mixer, g = self.mixer, program.entry("mix")
        shapes = {name: each.array.shape for name, each in self._model.items()}
        given = {name: g.weight(name, shape) for name, shape in shapes.items()}
        for name, shape in mixer.tokens.items():
            dtype = WIDE if name == "dt" else self.dtype
            given[name] = declare(g, Input(name, (T, *shape), dtype))
        causes = [
            declare(g, QUERY_STARTS),
            declare(g, Input("source", (R,), "int32")),
            declare(g, Input("targets", (R, RING), "int32")),
        ]
        memory = g.state(state, 0)
        operands = [given[name] for name in mixer.order.split()]
        behind = [given[name] for name in mixer.behind.split()]
        made = g.one(mixer.op, *operands, *causes, memory, *behind, plane="own", **mixer.attrs)
        g.output("out", made)
        g = program.entry("copy")
        g.op("state_copy", *(declare(g, each) for each in COPIED), g.state(state, 0))
        with optional():
            return bench.start(program.finish(), self._model, num_blocks=NUM_ROWS)


def joined(runs: Sequence[Tokens]) -> Tokens:
    """Put requests' tokens one after the other."""
    return {
        name: HostTensor(np.concatenate([run[name].array for run in runs]), each.dtype)
        for name, each in runs[0].items()
    }


def part(tokens: Tokens, start: int, stop: int) -> Tokens:
    """Give some of a run of tokens."""
    return {name: HostTensor(each.array[start:stop], each.dtype) for name, each in tokens.items()}
