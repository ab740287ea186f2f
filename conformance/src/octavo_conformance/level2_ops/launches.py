"""Launches: order, outputs that stay on the device, results that stay as they were read.

Knows nothing of what the ops compute.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.compare import close, reals, same
from octavo_conformance.drawing import normal
from octavo_conformance.level2_ops.node import Input, T, builder, declare
from octavo_conformance.level2_ops.paged import Paged, Sizes
from octavo_conformance.oracle.values import floats, narrow
from octavo_conformance.steps import Step
from octavo_conformance.verdict import insist
from octavo_platforms.tensor import DType, HostTensor


@promise_by_dtype(level=2, area="launch")
def takes_an_output_of_an_earlier_launch(bench: Bench, dtype: DType) -> None:
    """A reference carries a value from launch to launch, and reading it is not needed."""
    program = builder(dtype)
    first, second = program.entry("first"), program.entry("second")
    a, b = (declare(first, Input(name, (T, 24), dtype)) for name in "ab")
    first.output("total", first.one("add", a, b))
    total, c = (declare(second, Input(name, (T, 24), dtype)) for name in ("total", "c"))
    second.output("product", second.one("mul", total, c))
    running = bench.start(program.finish())
    x, y, z = (reals(normal(f"reference {name}", 5, 24), dtype) for name in "xyz")
    step = Step(queries=(5,))
    made = running.launch("first", step, a=x, b=y).ref("total")
    found = running.run("second", step, total=made, c=z)["product"]
    # two roundings at most, as of any compound of two pointwise ops
    rounded = floats(narrow(floats(x) + floats(y), dtype))
    close("silu_gate", found, rounded * floats(z), dtype)


@promise(level=2, area="launch")
def keeps_taps_for_later_launches(bench: Bench) -> None:
    """An output named as a tap is no part of the result, and can be referred to."""
    program = builder("float32")
    first, second = program.entry("first"), program.entry("second")
    a, b = (declare(first, Input(name, (T, 24), "float32")) for name in "ab")
    first.output("total", first.one("add", a, b))
    first.output("hidden@layers.3", first.one("mul", a, b))
    c = declare(second, Input("c", (T, 24), "float32"))
    second.output("again", second.one("add", c, c))
    running = bench.start(program.finish())
    x, y = (reals(normal(f"tap {name}", 5, 24), "float32") for name in "xy")
    pending = running.launch("first", Step(queries=(5,)), a=x, b=y)
    tap = pending.ref("hidden@layers.3")
    insist(set(pending.read().outputs) == {"total"}, "a tap was read")
    found = running.run("second", Step(queries=(5,)), c=tap)["again"]
    close("mul", found, 2 * floats(x) * floats(y), "float32")


@promise(level=2, area="launch")
def leaves_a_result_as_it_was_read(bench: Bench) -> None:
    """What was read does not change with later launches of the same entry."""
    program = builder("float32")
    g = program.entry("run")
    a, b = (declare(g, Input(name, (T, 24), "float32")) for name in "ab")
    g.output("out", g.one("add", a, b))
    running = bench.start(program.finish())
    step = Step(queries=(3,))
    ones = HostTensor(np.ones((3, 24), np.float32), "float32")
    found = running.run("run", step, a=ones, b=ones)["out"]
    as_read = HostTensor(found.array.copy(), "float32")
    nines = HostTensor(np.full((3, 24), 9, np.float32), "float32")
    running.run("run", step, a=nines, b=nines)
    same("an earlier result", found, as_read)


@promise(level=2, area="launch")
def keeps_programs_apart(bench: Bench) -> None:
    """Two programs of equal shape share no state, and closing one leaves the other."""
    sizes = Sizes(num_blocks=4)
    first, second = (Paged(bench, "float32", sizes) for _ in range(2))
    rows = reals(normal("apart", 4, sizes.kv_heads, sizes.width), "float32")
    first.write([4, 5, 6, 7], rows, rows)
    second.spoil()
    keys, values = first.read([4, 5, 6, 7])
    same("keys", keys, rows)
    same("values", values, rows)


@promise(level=2, area="launch")
def warms_up_in_known_steps(bench: Bench) -> None:
    """Progress never exceeds its total, and the program runs as before."""
    program = builder("float32")
    g = program.entry("forward")
    table = g.weight("table", (50, 8))
    g.output("rows", g.one("embedding", table, g.input("token_ids", (T,), "int32")))
    tensor = reals(normal("warm", 50, 8), "float32")
    running = bench.start(program.finish(), {"table": tensor})
    reports: list[tuple[str, int, int]] = []
    running.program.warm_up(lambda *report: reports.append(report))
    insist(all(0 <= done <= total for _, done, total in reports), f"odd progress: {reports}")
    found = running.run("forward", Step(queries=(2,), token_ids=[3, 49]))["rows"]
    same("after warming up", found, HostTensor(tensor.array[[3, 49]], "float32"))
    insist("forward" in running.program.entries, "it does not list the entry it has just run")
    running.program.close()
    running.program.close()
