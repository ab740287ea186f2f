"""Shape rules of the ops that shape logits, and entries that a platform may go without."""

from __future__ import annotations

import numpy as np
import pytest

from octavo_platforms.bind import bind
from octavo_platforms.capabilities import DeviceInfo, PlatformInfo
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Dim, Graph, GraphWriter, TensorType
from octavo_platforms.hooks import hookimpl
from octavo_platforms.ladder import Ladder, climbing, occurring
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.platform import Kernel
from octavo_platforms.program import ProgramDef, Symbol
from octavo_platforms.specs import OpSpec
from octavo_platforms.tolerance import error_units

S, B, V = Dim("C"), Dim("B"), 40


class AddsOnly:
    """A platform that has one op."""

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Give the least."""
        return PlatformInfo(name="toy", device="toy", vendor="none", dtypes=("float32",))

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        """Give the one."""
        return Kernel(name="add", run=print) if spec.op == "add" else None


class Context:
    """Opened devices that nobody uses."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        """Do nothing."""


def graph(op: str, *types: TensorType) -> Graph:
    writer = GraphWriter()
    leaves = [writer.leaf("input", f"in{index}", each) for index, each in enumerate(types)]
    for value in Emitter(writer, STANDARD, "toy")(op, *leaves):
        writer.output(f"out{len(leaves)}", value)
    return writer.finish()


LOGITS = TensorType((S, V), "float32")
BIASES = (TensorType((S, B), "int32"), TensorType((S, B), "float32"))
PROGRAM = ProgramDef(
    "toy",
    {"plain": graph("add", LOGITS, LOGITS), "rich": graph("bias_logits", LOGITS, *BIASES)},
    (),
    (),
    (),
    (Symbol("C", 4), Symbol("B", 64)),
    optional=frozenset({"rich"}),
)


def test_an_optional_entry_that_nobody_provides_is_left_out_with_the_reason() -> None:
    binding = bind(PROGRAM, Platform(AddsOnly()), Context())
    assert set(binding.entries) == {"plain"}
    assert "bias_logits" in binding.left_out["rich"]


def test_an_entry_that_is_not_optional_is_never_left_out() -> None:
    strict = ProgramDef("toy", PROGRAM.entries, (), (), (), PROGRAM.symbols)
    with pytest.raises(CannotBind, match="bias_logits"):
        bind(strict, Platform(AddsOnly()), Context())


def test_sizes_that_only_optional_entries_have_are_padded_and_not_walked() -> None:
    ladder = Ladder(least=2, factor=2)
    policy = climbing(PROGRAM, {"C": ladder, "B": ladder})
    assert policy.buckets["B"] == (2, 4, 8, 16, 32, 64)
    walked = [(each["C"], each["B"]) for each in occurring(PROGRAM, policy)]
    assert walked == [(2, 64), (4, 64)]


@pytest.mark.parametrize(
    ("op", "wrong"),
    [
        ("bias_logits", (TensorType((S, V), "bfloat16"), *BIASES)),
        ("bias_logits", (LOGITS, BIASES[0], TensorType((S, V), "float32"))),
        (
            "truncate_logits",
            (
                LOGITS,
                TensorType((5, 2), "uint32"),
                TensorType((S,), "int32"),
                TensorType((S,), "int32"),
                TensorType((S, 2), "float32"),
            ),
        ),
        (
            "penalise_logits",
            (
                LOGITS,
                TensorType((S, B), "int32"),
                TensorType((S,), "int32"),
                TensorType((S,), "int32"),
                TensorType((S, 3), "float32"),
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused(op: str, wrong: tuple[TensorType, ...]) -> None:
    with pytest.raises(ShapeError):
        graph(op, *wrong)


def test_an_infinity_in_its_place_is_no_error_and_one_elsewhere_is_infinite() -> None:
    exact = np.array([[1.0, -np.inf, 2.0]])
    assert error_units(exact.copy(), exact, "float32") == 0
    near = np.array([[1.0 + 2.0**-23, -np.inf, 2.0]])
    assert 0 < error_units(near, exact, "float32") < 1.5
    for wrong in ([1.0, np.inf, 2.0], [1.0, 0.0, 2.0], [-np.inf, -np.inf, 2.0], [1.0, np.nan, 2.0]):
        assert error_units(np.array([wrong]), exact, "float32") == float("inf")
