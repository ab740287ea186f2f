"""Private ops: who may register one under which name, and what binding makes of them.

No kernel here is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octavo_platforms.bind import bind
from octavo_platforms.capabilities import DeviceInfo, PlatformInfo
from octavo_platforms.errors import CannotBind, Refused
from octavo_platforms.graph import Dim, GraphWriter, TensorType, Value, ValueType
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Attrs, Catalogue, Emit, Emitter, Hook, Op, PrivateOp
from octavo_platforms.platform import Kernel
from octavo_platforms.program import ProgramDef
from octavo_platforms.specs import OpSpec


class Context:
    """Opened devices that nobody uses."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        """Do nothing."""


def same(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    return (types[0],)


def twice(emit: Emit, inputs: Sequence[Value], attrs: Attrs) -> tuple[Value, ...]:
    return emit("add", inputs[0], inputs[0])


def private(name: str, hook: Hook = "bind_op", *, is_compound: bool = False) -> PrivateOp:
    decompose = twice if is_compound else None
    op = Op(name=name, infer=same, hook=hook, decompose=decompose)
    return PrivateOp(op=op, oracle=lambda x: x + x, samples=lambda dtype: ())


class Plugin:
    """A plugin that registers ops and has kernels for some."""

    def __init__(self, *ops: PrivateOp, kernels: Sequence[str] = ()) -> None:
        self.ops, self.kernels = ops, kernels

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        return PlatformInfo(name="toy", device="toy", vendor="none", dtypes=("float32",))

    @hookimpl
    def private_ops(self) -> tuple[PrivateOp, ...]:
        return self.ops

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        return Kernel(name=f"toy {spec.op}", run=print) if spec.op in self.kernels else None


def using(op: str, catalogue: Catalogue) -> ProgramDef:
    writer = GraphWriter()
    x = writer.leaf("input", "x", TensorType((Dim("T"), 8), "float32"))
    writer.output("y", *Emitter(writer, catalogue, "layers.0.mlp")(op, x))
    return ProgramDef("toy", {"run": writer.finish()}, (), (), (), ())


def ops_bound(platform: Platform) -> list[tuple[str, str | None]]:
    entry = bind(using("acme::double", platform.catalogue), platform, Context()).entries["run"]
    ran = zip(entry.graph.nodes, entry.choices, strict=True)
    return [(node.op, choice.compound) for node, choice in ran]


def test_catalogue_is_the_standard_one_and_what_front_and_back_register() -> None:
    behind = Plugin(private("acme::double"))
    platform = Platform(Plugin(private("fork::triple")), behind=behind)
    assert set(platform.catalogue) == {*STANDARD, "acme::double", "fork::triple"}
    assert "acme::double" not in STANDARD


@pytest.mark.parametrize("name", ["double", "add", "::double", "acme::", "acme:double", "a::b::c"])
def test_name_without_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=f"'{name}' is not the catalogue's"):
        Platform(Plugin(private(name)))


def test_private_op_that_asks_a_hook_of_its_own_is_refused() -> None:
    with pytest.raises(Refused, match="asks bind_linear"):
        Platform(Plugin(private("acme::double", "bind_linear")))


def test_op_registered_twice_is_refused_with_both_names() -> None:
    with pytest.raises(Refused, match="'acme::double' is registered by"):
        Platform(Plugin(private("acme::double")), behind=Plugin(private("acme::double")))


def test_claimed_private_op_stays_whole() -> None:
    plugin = Plugin(private("acme::double", is_compound=True), kernels=["acme::double"])
    assert ops_bound(Platform(plugin)) == [("acme::double", None)]


def test_private_op_that_nobody_claims_becomes_its_primitives() -> None:
    plugin = Plugin(private("acme::double", is_compound=True), kernels=["add"])
    assert ops_bound(Platform(plugin)) == [("add", "acme::double")]


def test_platform_that_does_not_register_an_op_says_so_and_where_it_stands() -> None:
    catalogue = Platform(Plugin(private("acme::double"))).catalogue
    program = using("acme::double", catalogue)
    with pytest.raises(CannotBind, match=r"'toy' has no op 'acme::double'.*layers\.0\.mlp"):
        bind(program, Platform(Plugin(kernels=["add"])), Context())
