"""Ranks: what a group is, which parts of weights a rank has, and how collectives are bound.

Does not know how ranks reach one another: communicators here are a group and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from octavo_platforms.bind import bind
from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, PlatformInfo, RankForm
from octavo_platforms.errors import CannotBind, CannotStart
from octavo_platforms.graph import Attr, Dim, GraphWriter, TensorType
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.platform import DeviceContext, DeviceTensor, Kernel
from octavo_platforms.program import ProgramDef
from octavo_platforms.ranks import Communicator, GroupSpec
from octavo_platforms.recipes import (
    Cut,
    Join,
    Once,
    Part,
    Recipe,
    Take,
    fill,
    pull,
    replace_takes,
    taken,
)
from octavo_platforms.specs import OpSpec
from octavo_platforms.tensor import DType, HostTensor, host

A = np.arange(20, dtype=np.float32).reshape(5, 4)
T = Dim("T")


class Checkpoint:
    """One tensor."""

    def names(self) -> Collection[str]:
        return ["a"]

    def shape(self, name: str) -> tuple[int, ...]:
        return A.shape

    def dtype(self, name: str) -> DType:
        return "float32"

    def read(self, name: str) -> HostTensor:
        return host(A)


class Context:
    """Opened devices that nobody uses."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        """Do nothing."""


class Silent:
    """A group that is never talked to."""

    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec

    def _silent(self) -> DeviceTensor:
        raise NotImplementedError("nobody runs a kernel here")

    def all_reduce(self, tensor: DeviceTensor) -> DeviceTensor:
        return self._silent()

    def all_gather(self, tensor: DeviceTensor, axis: int) -> DeviceTensor:
        return self._silent()

    def reduce_scatter(self, tensor: DeviceTensor, axis: int) -> DeviceTensor:
        return self._silent()

    def all_to_all(self, tensor: DeviceTensor) -> DeviceTensor:
        return self._silent()

    def broadcast(self, tensor: DeviceTensor, source: int) -> DeviceTensor:
        return self._silent()

    def send(self, tensor: DeviceTensor, to: int) -> None:
        self._silent()

    def recv(self, shape: tuple[int, ...], dtype: DType, source: int) -> DeviceTensor:
        return self._silent()

    def barrier(self) -> None:
        self._silent()

    def close(self) -> None:
        """Do nothing."""


class Collective:
    """A platform whose collectives are kernels that close over their group."""

    def __init__(self, form: RankForm = "process") -> None:
        self._form = form

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        return PlatformInfo(
            name="toy", device="toy", vendor="none", dtypes=("float32",), ranks=self._form
        )

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        return Context()

    @hookimpl
    def bind_collective(self, spec: OpSpec, communicator: Communicator) -> Kernel:
        return Kernel(name=f"{spec.op} in {communicator.spec}", run=communicator.all_reduce)


def group(size: int = 2, *, rank: int = 0, name: str = "tp") -> GroupSpec:
    return GroupSpec(name=name, members=tuple(range(size)), rank=rank)


def summing() -> ProgramDef:
    writer = GraphWriter()
    x = writer.leaf("input", "x", TensorType((T, 4), "float32"))
    Emitter(writer, STANDARD, "layers.0.o_proj")("all_reduce", x, group="tp", ranks=2)
    return ProgramDef("toy", {"run": writer.finish()}, (), (), (), ())


def shape_of(op: str, shapes: Sequence[tuple[int | Dim, ...]], **attrs: Attr) -> object:
    types = [TensorType(shape, "int32" if len(shape) == 1 else "float32") for shape in shapes]
    made = STANDARD[op].infer(types, {"group": "tp", "ranks": 2, **attrs})
    return [each.shape for each in made if isinstance(each, TensorType)]


def test_rank_has_a_number_in_each_group_that_it_is_in() -> None:
    spec = GroupSpec(name="pp", members=(1, 5, 3), rank=3)
    assert (spec.size, spec.number) == (3, 2)


@pytest.mark.parametrize(("members", "rank"), [((0, 1), 2), ((0, 0), 0), ((), 0)])
def test_group_without_the_rank_that_asks_is_refused(members: tuple[int, ...], rank: int) -> None:
    with pytest.raises(ValueError, match="cannot be in the group 'tp'"):
        GroupSpec(name="tp", members=members, rank=rank)


@pytest.mark.parametrize(
    ("recipe", "rank", "expected"),
    [
        (Part(Take("a"), 1, 2, 2, "tp"), 1, A[:, 2:]),
        (Part(Take("a"), 0, 2, 2, "tp"), 0, A[:3]),
        (Part(Take("a"), 0, 2, 2, "tp"), 1, np.concatenate([A[3:], np.zeros((1, 4))])),
        (Part(Take("a"), 1, 2, 4, "tp"), 1, A[:, :2]),
        (Part(Take("a"), 1, 2, 4, "tp"), 2, A[:, 2:]),
        (Part(Take("a"), 1, 1, 4, "tp"), 3, A),
        (Once(Take("a"), "tp"), 0, A),
        (Once(Take("a"), "tp"), 1, np.zeros_like(A)),
        (Join((Part(Take("a"), 1, 2, 2, "tp"), Cut(Take("a"), 1, 0, 1)), 1), 1, A[:, [2, 3, 0]]),
    ],
)
def test_rank_pulls_its_own_part(recipe: Recipe, rank: int, expected: np.ndarray) -> None:
    assert np.array_equal(pull(recipe, Checkpoint(), {"tp": rank}).array, expected)
    into = host(np.full(expected.shape, 7, np.float32))
    fill(recipe, Checkpoint(), into, {"tp": rank})
    assert np.array_equal(into.array, expected)


def test_part_longer_than_an_axis_is_zeros_past_its_end() -> None:
    last = pull(Part(Take("a"), 0, 4, 4, "tp"), Checkpoint(), {"tp": 3})
    assert np.array_equal(last.array, np.zeros((2, 4)))


def test_parts_of_a_group_that_nobody_numbered_are_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="ranks of 'ep'"):
        pull(Part(Take("a"), 0, 2, 2, "ep"), Checkpoint(), {"tp": 0})


def test_recipes_of_ranks_are_walked_and_renamed_like_others() -> None:
    recipe = Join((Part(Take("a"), 0, 2, 2, "tp"), Once(Take("b"), "tp")))
    assert list(taken(recipe)) == ["a", "b"]
    renamed = replace_takes(recipe, lambda name: Take(f"x.{name}"))
    assert renamed == Join((Part(Take("x.a"), 0, 2, 2, "tp"), Once(Take("x.b"), "tp")))


def test_shapes_of_collectives_follow_from_the_number_of_ranks() -> None:
    x = (T, 6)
    assert shape_of("all_reduce", [x]) == [x]
    assert shape_of("all_gather", [x], axis=1) == [(T, 12)]
    assert shape_of("all_gather", [x], axis=0) == [(Dim("T", times=2), 6)]
    assert shape_of("reduce_scatter", [x], axis=1) == [(T, 3)]
    assert shape_of("reduce_scatter", [x], axis=0) == [(Dim("T", over=2), 6)]
    assert shape_of("reduce_scatter", [(Dim("T", times=4), 6)], axis=0) == [(Dim("T", times=2), 6)]
    assert shape_of("all_to_all", [(8, 6), (4,)]) == [(8, 6), (4,)]
    assert shape_of("send", [x], to=1) == []
    assert shape_of("recv", [(T,)], source=0, width=6, dtype="float32") == [x]
    assert shape_of("embedding_part", [(50, 6), (T,)]) == [x]


@pytest.mark.parametrize(
    ("op", "shapes", "attrs"),
    [
        ("reduce_scatter", [(T, 5)], {"axis": 1}),
        ("all_gather", [(T, 5)], {"axis": 2}),
        ("all_to_all", [(7, 5), (2,)], {}),
        ("all_to_all", [(8, 5), (3,)], {}),
        ("send", [(T, 5)], {"to": 2}),
        ("all_reduce", [(T, 5)], {"ranks": 0}),
        ("all_reduce", [(T, 5)], {"group": None}),
    ],
)
def test_what_has_no_equal_parts_or_no_peer_is_refused(
    op: str, shapes: Sequence[tuple[int | Dim, ...]], attrs: dict[str, Attr]
) -> None:
    with pytest.raises(ShapeError):
        shape_of(op, shapes, **attrs)


def test_kernel_of_a_collective_closes_over_the_group_that_it_names() -> None:
    ours, other = Silent(group(rank=1)), Silent(group(name="dp"))
    binding = bind(
        summing(), Platform(Collective()), Context(), communicators={"tp": ours, "dp": other}
    )
    (choice,) = binding.entries["run"].choices
    assert choice.kernel.name == f"all_reduce in {ours.spec}"


def test_collective_without_its_group_is_refused_and_says_so() -> None:
    with pytest.raises(CannotBind, match="talks to 2 ranks, and no group 'tp' was made"):
        bind(summing(), Platform(Collective()), Context())


def test_collective_in_a_group_of_another_size_is_refused_with_both_numbers() -> None:
    with pytest.raises(CannotBind, match="talks to 2 ranks, and 'tp' has 3"):
        bind(summing(), Platform(Collective()), Context(), communicators={"tp": Silent(group(3))})


def test_platform_of_one_rank_opens_no_second_one() -> None:
    platform = Platform(Collective("single"))
    with pytest.raises(CannotStart, match="one rank, and 2 were asked for"):
        platform.open_device((0,), DeviceSettings(ranks=2))
    assert platform.open_device((0,), DeviceSettings()).devices == ()


def test_rank_past_the_last_is_refused() -> None:
    with pytest.raises(CannotStart, match="rank 2 is not one of 2"):
        Platform(Collective()).open_device((0,), DeviceSettings(rank=2, ranks=2))


def test_platform_that_makes_no_groups_is_refused_when_one_is_asked_for() -> None:
    with pytest.raises(CannotStart, match="make_communicator"):
        Platform(Collective()).make_communicator(group(), Context())
