"""Private ops: what a plugin adds to the catalogue means what its own oracle says.

The plugin brings oracle, samples and tolerance; the case brings the program around it: values
as inputs, weights or buffers, and buffers filled before and read after. Knows no op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from octavo.graph.builder import GraphBuilder, ProgramBuilder
from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import close
from octavo_conformance.level2_ops.node import ENTRY, T, builder
from octavo_conformance.oracle.values import widen
from octavo_conformance.steps import Step, ints
from octavo_conformance.verdict import NotClaimed, insist
from octavo_platforms.graph import Attr, TensorType, Value
from octavo_platforms.ops import PrivateOp, Sample
from octavo_platforms.tensor import DTYPES, Array, DType, HostTensor, host, is_float

NULL_ROWS = 1
Some = TypeVar("Some")
Write = Callable[[GraphBuilder, Sequence[Value]], tuple[Value, ...]]


@promise(level=2, area="private")
def brings_samples_of_every_private_op(bench: Bench) -> None:
    """Each private op has a sample in some dtype that the platform declares."""
    for private in _some(bench.platform.private_ops):
        tried = [dtype for dtype in bench.platform.info.dtypes if private.samples(dtype)]
        insist(bool(tried), f"{private.op.name} brings no sample, so nothing proves it")


@promise_by_dtype(level=2, area="private", dtypes=[each for each in DTYPES if is_float(each)])
def means_what_its_oracle_says(bench: Bench, dtype: DType) -> None:
    """A private op gives what its oracle gives, within the tolerance that it states."""
    for private, sample in _tries(bench, dtype):
        _check(bench, private, sample, _whole(private, sample))


@promise_by_dtype(level=2, area="private", dtypes=[each for each in DTYPES if is_float(each)])
def decomposes_into_what_it_means(bench: Bench, dtype: DType) -> None:
    """The primitives that stand for an unclaimed private op give what its oracle gives."""
    compounds = [
        (private, sample)
        for private, sample in _tries(bench, dtype)
        if private.op.decompose is not None
    ]
    for private, sample in _some(compounds):
        _check(bench, private, sample, _decomposed(private, sample))


class _Emit:
    """The `Emit` of a graph that is being built."""

    def __init__(self, g: GraphBuilder) -> None:
        self._g = g

    def __call__(self, op: str, *inputs: Value, **attrs: Attr) -> tuple[Value, ...]:
        return self._g.op(op, *inputs, **attrs)

    def type_of(self, value: Value) -> TensorType:
        return self._g.type_of(value)


def _whole(private: PrivateOp, sample: Sample) -> Write:
    def write(g: GraphBuilder, given: Sequence[Value]) -> tuple[Value, ...]:
        return g.op(private.op.name, *given, **sample.attrs)

    return write


def _decomposed(private: PrivateOp, sample: Sample) -> Write:
    def write(g: GraphBuilder, given: Sequence[Value]) -> tuple[Value, ...]:
        assert private.op.decompose is not None
        return private.op.decompose(_Emit(g), given, sample.attrs)

    return write


def _tries(bench: Bench, dtype: DType) -> Iterator[tuple[PrivateOp, Sample]]:
    return iter(
        _some(
            [
                (private, sample)
                for private in bench.platform.private_ops
                for sample in private.samples(dtype)
            ]
        )
    )


def _check(bench: Bench, private: PrivateOp, sample: Sample, write: Write) -> None:
    """Fill the buffers, run the op once, and hold outputs and buffers against its oracle."""
    op, types = private.op, sample.types
    program = builder(_dtype(sample), catalogue=bench.platform.catalogue)
    g = program.entry(ENTRY)
    outputs = write(g, [_declare(g, private, sample, at) for at in range(len(types))])
    for index, value in enumerate(outputs):
        g.output(f"out{index}", value)
    _add_buffers(program, private, sample)
    weights = {f"in{at}": sample.values[at] for at in sample.weights}
    running = bench.start(program.finish(), weights)
    step = Step(queries=(_num_tokens(sample),))
    given = {f"in{at}": value for at, value in enumerate(sample.values)}
    filled = {name: given.pop(name) for name in [f"in{at}" for at in op.writes]}
    for name, rows in filled.items():
        running.run(f"fill {name}", step, values=rows)
    found = running.run(ENTRY, step, **{n: v for n, v in given.items() if n not in weights})
    exact: list[Array] = [widen(value) for value in sample.values]
    made = private.oracle(*exact, **sample.attrs)
    expected = made if isinstance(made, tuple) else () if made is None else (made,)
    for index, (output, right) in enumerate(zip(outputs, expected, strict=True)):
        _hold(private, found[f"out{index}"], right, g.type_of(output).dtype)
    for at in op.writes:
        kept = running.run(f"read in{at}", step)["out"]
        _hold(private, kept, exact[at][NULL_ROWS:], types[at].dtype)


def _declare(g: GraphBuilder, private: PrivateOp, sample: Sample, at: int) -> Value:
    name, declared = f"in{at}", sample.types[at]
    if at in private.op.writes:
        return g.buffer(name, declared.shape, declared.dtype)
    if at in sample.weights:
        return g.weight(name, sample.values[at].shape)
    return g.input(name, declared.shape, declared.dtype)


def _add_buffers(program: ProgramBuilder, private: PrivateOp, sample: Sample) -> None:
    for at in private.op.writes:
        declared, value = sample.types[at], sample.values[at]
        rows = ints(range(len(value.array)))
        fill, read = program.entry(f"fill in{at}"), program.entry(f"read in{at}")
        target, source = (_declare(g, private, sample, at) for g in (fill, read))
        values = fill.input("values", declared.shape, declared.dtype)
        fill.op("scatter_rows", target, fill.literal("rows", host(rows)), values)
        kept = read.literal("rows", host(rows[NULL_ROWS:]))
        read.output("out", read.one("gather_rows", source, kept))


def _num_tokens(sample: Sample) -> int:
    for declared, value in zip(sample.types, sample.values, strict=True):
        for size, extent in zip(declared.shape, value.shape, strict=True):
            if size == T:
                return extent
    return 1


def _dtype(sample: Sample) -> DType:
    """Give the dtype of the weights; of a sample without any, it does not matter."""
    return sample.types[sample.weights[0]].dtype if sample.weights else "float32"


def _hold(private: PrivateOp, found: HostTensor, exact: Array, dtype: DType) -> None:
    wide, narrow = private.units
    units = wide if dtype in ("float32", "float64") else narrow
    close(private.op.name, found, exact, dtype, units=units if is_float(dtype) else 0.0)


def _some(found: Sequence[Some]) -> Sequence[Some]:
    if not found:
        raise NotClaimed("it registers no such op")
    return found
