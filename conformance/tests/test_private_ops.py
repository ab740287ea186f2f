"""Private ops under the suite: a sound one passes, each way of being wrong is found.

The plugins stand in front of the oracle, so that everything but the private op is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from octavo_conformance.catalogue import selected
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_conformance.oracle.values import Floats, Ints
from octavo_conformance.running import run
from octavo_conformance.subject import given
from octavo_conformance.verdict import Verdict
from octavo_platforms.graph import Dim, TensorType, Value, ValueType
from octavo_platforms.hooks import hookimpl
from octavo_platforms.ops import Attrs, Emit, Op, PrivateOp, Sample
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_platforms.tensor import DType, cast, host

T = Dim("T")


def first(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    return (types[0],)


def nothing(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    return ()


def squared(emit: Emit, inputs: Sequence[Value], attrs: Attrs) -> tuple[Value, ...]:
    return emit("mul", inputs[0], inputs[0])


def doubled(emit: Emit, inputs: Sequence[Value], attrs: Attrs) -> tuple[Value, ...]:
    return emit("add", inputs[0], inputs[0])


def square(x: Floats) -> Floats:
    return x * x


def count(counts: Ints, at: Ints) -> None:
    np.add.at(counts, at, 1)


def rows(dtype: DType) -> tuple[Sample, ...]:
    values = [np.linspace(-2, 2, n * 8, dtype=np.float32).reshape(n, 8) for n in (1, 7)]
    declared = TensorType((T, 8), dtype)
    return tuple(Sample(types=(declared,), values=(cast(host(x), dtype),)) for x in values)


def counted(dtype: DType) -> tuple[Sample, ...]:
    if dtype != "float32":
        return ()
    counts, at = np.arange(6, dtype=np.int32), np.array([3, 0, 3], np.int32)
    types = (TensorType((6,), "int32"), TensorType((T,), "int32"))
    return (Sample(types=types, values=(host(counts), host(at))),)


SQUARE = PrivateOp(
    op=Op(name="acme::square", infer=first, decompose=squared),
    oracle=square,
    samples=rows,
    units=(2.0, 2.0),
)
COUNT = PrivateOp(
    op=Op(name="acme::count", infer=nothing, writes=(0,)), oracle=count, samples=counted
)


@dataclass
class Acme:
    """A plugin with a square and a count, and what it runs for each."""

    square: Callable[..., object] | None = square
    count: Callable[..., object] = count
    ops: tuple[PrivateOp, ...] = (SQUARE, COUNT)

    @hookimpl
    def private_ops(self) -> tuple[PrivateOp, ...]:
        return self.ops

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        found = {"acme::square": self.square, "acme::count": self.count}.get(spec.op)
        return None if found is None else Kernel(name=spec.op, run=found)


def verdicts(plugin: Acme, dtype: str = "float32", mode: str = "exact") -> dict[str, str]:
    platform = OraclePlatform(overrides=[plugin])
    subject = given(platform, name="oracle", origin=f"{__name__}:platform", mode=mode)
    cases = [case for case in selected((2,), "private") if case.dtype in (None, dtype)]
    return {
        result.case.split("/")[2].split("[")[0]: f"{result.verdict} {result.detail}".strip()
        for result in run(subject, cases)
    }


def test_sound_private_ops_pass_padded_and_not() -> None:
    for mode in ("exact", "padded"):
        found = verdicts(Acme(), mode=mode)
        assert found["brings_samples_of_every_private_op"] == "PASS"
        assert not any("acme::" in each or "FAIL" in each for each in found.values()), found


def test_unclaimed_private_op_falls_back_on_its_primitives() -> None:
    found = verdicts(Acme(square=None), "bfloat16")["means_what_its_oracle_says"]
    assert found.startswith(f"{Verdict.FALLBACK} acme::square as its primitives")


def test_wrong_kernel_is_found_with_the_name_of_the_op() -> None:
    found = verdicts(Acme(square=lambda x: x + x))
    assert found["means_what_its_oracle_says"].startswith("FAIL acme::square is")
    assert found["decomposes_into_what_it_means"].startswith("FALLBACK mul by")


def test_wrong_decomposition_is_found_though_the_kernel_is_right() -> None:
    wrong = replace(SQUARE, op=replace(SQUARE.op, decompose=doubled))
    found = verdicts(Acme(ops=(wrong,)))
    assert found["decomposes_into_what_it_means"].startswith("FAIL acme::square is")
    assert found["means_what_its_oracle_says"] == "PASS"


def test_forgotten_effect_is_found() -> None:
    found = verdicts(Acme(count=lambda counts, at: None))
    assert found["means_what_its_oracle_says"].startswith("FAIL acme::count: 1 of 5 elements")


def test_op_that_brings_no_sample_is_not_proved() -> None:
    found = verdicts(Acme(ops=(replace(SQUARE, samples=lambda dtype: ()),)))
    assert found["brings_samples_of_every_private_op"].startswith("FAIL acme::square")


def test_platform_without_private_ops_claims_none() -> None:
    assert all(each.startswith("NOT-CLAIMED") for each in verdicts(Acme(ops=())).values())
