"""States of other axes than keys and values: their layouts, and what latents' hooks are asked.

No kernel here is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octavo_platforms.bind import bind
from octavo_platforms.capabilities import DeviceInfo, PlatformInfo
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Dim, GraphWriter, StateType, TensorType, Value
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.platform import Kernel, StateKernel, StateLayout
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.specs import LatentAttentionSpec, LatentRowsSpec

ROWS = StateLayout("rows", ("B", "P", "C"))
COLUMNS = StateLayout("columns", ("B", "C", "P"))
HEADS = StateLayout("heads", ("B", "P", "K", "D"))
T, R, M = Dim("T"), Dim("R"), Dim("M")
LATENT, KEY, HEADS_OF_Q, PLAIN, VALUE = 6, 2, 3, 4, 5
STATE = StateSpec("kv", "paged", (Plane("latent", (LATENT + KEY,), "float32", ("C",)),), 2, 4)


class Context:
    """Opened devices that nobody uses."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        """Do nothing."""


class Attends:
    """A platform that attends and writes in the given layouts, and keeps what it was asked."""

    def __init__(self, reads: Sequence[StateLayout], writes: Sequence[StateLayout]) -> None:
        self.asked: list[object] = []
        self._reads, self._writes = tuple(reads), tuple(writes)

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Give the least."""
        return PlatformInfo(name="toy", device="toy", vendor="none", dtypes=("float32",))

    @hookimpl
    def bind_latent_attention(self, spec: LatentAttentionSpec) -> StateKernel:
        """Attend."""
        return self._offer(spec, self._reads)

    @hookimpl
    def bind_latent_rows(self, spec: LatentRowsSpec) -> StateKernel:
        """Write or read."""
        return self._offer(spec, self._writes)

    def _offer(self, spec: object, layouts: tuple[StateLayout, ...]) -> StateKernel:
        self.asked.append(spec)
        kernel = Kernel(name="toy", run=print)
        return StateKernel(name="toy", layouts=layouts, at=lambda layout: kernel)


def program(*, weight_rows: int = HEADS_OF_Q * (PLAIN + VALUE)) -> ProgramDef:
    writer = GraphWriter()
    emit = Emitter(writer, STANDARD, "toy")

    def given(name: str, *shape: int | Dim, integers: bool = False) -> Value:
        kind = TensorType(shape, "int32" if integers else "float32")
        return writer.leaf("input", name, kind)

    latent, key, slots = given("c", T, LATENT), given("k", T, KEY), given("s", T, integers=True)
    state = writer.leaf("state", "kv.0", StateType("kv", 0))
    emit("latent_write", latent, key, slots, state)
    q, rope = given("q", T, HEADS_OF_Q, PLAIN), given("r", T, HEADS_OF_Q, KEY)
    causes = [given("starts", Dim("R", plus=1), integers=True), given("n", R, integers=True)]
    causes.append(given("table", R, M, integers=True))
    weight = given("w", weight_rows, LATENT)
    (out,) = emit("latent_attention", q, rope, weight, *causes, state, scale=0.5)
    writer.output("out", out)
    (rows,) = emit("latent_read", slots, state, width=LATENT + KEY, dtype="float32")
    writer.output("rows", rows)
    return ProgramDef("toy", {"run": writer.finish()}, (), (), (STATE,), ())


def test_a_layout_gives_each_plane_the_axes_that_it_has() -> None:
    scales = Plane("scale", (2,), "float32", ("K",))
    layout = StateLayout("heads of a block", ("B", "K", "P", "D"))
    shapes = [layout.shape(each, num_blocks=9, block_size=4) for each in (_keys(), scales)]
    assert shapes == [(9, 2, 4, 8), (9, 2, 4)]
    assert COLUMNS.shape(STATE.planes[0], num_blocks=9, block_size=4) == (9, 8, 4)


def test_a_layout_orders_a_state_whose_every_axis_it_names_once() -> None:
    mixed = StateSpec("kv", "paged", (_keys(), STATE.planes[0]), 1, 4)
    assert mixed.axes == ("B", "P", "K", "D", "C")
    assert StateLayout("both", ("B", "P", "K", "D", "C")).orders(mixed)
    assert not any(layout.orders(mixed) for layout in (HEADS, ROWS))
    assert not StateLayout("twice", ("B", "P", "C", "C")).orders(STATE)


@pytest.mark.parametrize("axes", [("K", "D"), (), ("B",), ("P",)])
def test_a_plane_whose_axes_are_not_named_one_by_one_is_refused(axes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="the plane 'latent' has the sizes"):
        Plane("latent", (8,), "float32", axes)


def test_hooks_of_latents_are_asked_for_widths_that_follow_from_the_types() -> None:
    toy = Attends([ROWS], [ROWS])
    binding = bind(program(), Platform(toy), Context())
    assert binding.layouts["kv"] == ROWS
    attention = LatentAttentionSpec(
        num_heads=HEADS_OF_Q,
        plain_width=PLAIN,
        rope_width=KEY,
        value_width=VALUE,
        latent_width=LATENT,
        scale=0.5,
        dtype="float32",
        state=STATE,
    )
    rows = [
        LatentRowsSpec(op=op, width=LATENT + KEY, dtype="float32", state=STATE)
        for op in ("latent_write", "latent_read")
    ]
    assert set(toy.asked) == {attention, *rows}
    assert len(toy.asked) == 3


def test_latents_lie_as_their_attention_prefers() -> None:
    binding = bind(program(), Platform(Attends([COLUMNS, ROWS], [ROWS, COLUMNS])), Context())
    assert binding.layouts["kv"] == COLUMNS


def test_an_offered_layout_of_other_axes_than_the_states_is_passed_over() -> None:
    binding = bind(program(), Platform(Attends([HEADS, ROWS], [HEADS, ROWS])), Context())
    assert binding.layouts["kv"] == ROWS
    with pytest.raises(CannotBind, match="whose axes are B, P, C, suits all its kernels"):
        bind(program(), Platform(Attends([HEADS], [HEADS])), Context())


@pytest.mark.parametrize("rows", [HEADS_OF_Q * PLAIN, HEADS_OF_Q * (PLAIN + VALUE) + 1])
def test_a_weight_that_heads_cannot_share_is_refused(rows: int) -> None:
    with pytest.raises(ShapeError, match="are no keys and values for"):
        program(weight_rows=rows)


def _keys() -> Plane:
    return Plane("k", (2, 8), "float32")
