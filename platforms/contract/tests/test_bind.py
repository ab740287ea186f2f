"""Binding: who is asked, in which order, and what becomes of every answer.

No kernel here is ever run. Does not know any platform: plugins are made of answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from octavo_platforms.bind import bind
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import DeviceInfo, PlatformInfo
from octavo_platforms.errors import CannotBind
from octavo_platforms.graph import Dim, GraphWriter, StateType, TensorType, Value
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Emitter
from octavo_platforms.platform import Kernel, StateKernel, StateLayout, Unsupported
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.specs import KVWriteSpec, LinearSpec, OpSpec

Answer = Callable[[object], object]
T, R, M = Dim("T"), Dim("R"), Dim("M")
FIRST = StateLayout("first", ("B", "P", "K", "D"))
SECOND = StateLayout("second", ("B", "K", "P", "D"))
THIRD = StateLayout("third", ("K", "B", "P", "D"))


class Context:
    """Opened devices that nobody uses."""

    devices: tuple[DeviceInfo, ...] = ()

    def close(self) -> None:
        """Do nothing."""


class Plugin:
    """A plugin whose hooks are answers, as if they came from a package of that name."""

    def __init__(
        self, package: str, answers: Mapping[str, Answer], overrides: Sequence[object] = ()
    ) -> None:
        self.overrides = overrides
        for hook, answer in answers.items():
            setattr(self, hook, hookimpl(_hook(package, answer)))


def _hook(package: str, answer: Answer) -> Callable[[object], object]:
    def call(spec: object) -> object:
        return answer(spec)

    call.__module__ = f"{package}.platform"
    return call


class Identity:
    """Who the platform is; the rest is up to other plugins."""

    def __init__(self, overrides: Sequence[object]) -> None:
        self.overrides = overrides

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Give the least."""
        return PlatformInfo(name="toy", device="toy", vendor="none", dtypes=("float32",))


def kernel(name: str) -> Kernel:
    return Kernel(name=name, run=print)


def state_kernel(name: str, *layouts: StateLayout) -> StateKernel:
    return StateKernel(
        name=name, layouts=layouts, at=lambda layout: kernel(f"{name} in {layout.name}")
    )


def platform_of(*plugins: object, behind: object | None = None) -> Platform:
    return Platform(Identity(plugins), behind=behind)


def any_op(package: str, *, but: Sequence[str] = ()) -> Plugin:
    """Answer every primitive but some."""

    def bind_op(spec: object) -> Kernel | None:
        assert isinstance(spec, OpSpec)
        is_mine = STANDARD[spec.op].decompose is None and spec.op not in but
        return kernel(f"{package} {spec.op}") if is_mine else None

    return Plugin(package, {"bind_op": bind_op})


@dataclass(frozen=True)
class Written:
    """An entry being written, and what writes it."""

    writer: GraphWriter
    emit: Emitter

    def value(self, name: str, *shape: int | Dim, kind: str = "input") -> Value:
        leaf = TensorType(shape, "int32" if name in ("starts", "computed", "slots") else "float32")
        if name == "table":
            leaf = TensorType(shape, "int32")
        return self.writer.leaf("weight" if kind == "weight" else "input", name, leaf)


def written(scope: str = "layers.3.mlp") -> Written:
    writer = GraphWriter()
    return Written(writer, Emitter(writer, STANDARD, scope))


def program(entry: Written, *states: StateSpec) -> ProgramDef:
    return ProgramDef("toy", {"run": entry.writer.finish()}, (), (), states, ())


def bound(definition: ProgramDef, platform: Platform) -> Binding:
    return bind(definition, platform, Context())


def one_add() -> ProgramDef:
    entry = written()
    a, b = entry.value("a", T, 8), entry.value("b", T, 8)
    entry.writer.output("sum", *entry.emit("add", a, b))
    return program(entry)


def one_gate() -> ProgramDef:
    entry = written()
    entry.writer.output("gated", *entry.emit("silu_gate", entry.value("x", T, 8)))
    return program(entry)


def attending() -> ProgramDef:
    entry = written("layers.0.self_attn")
    k, v, q = (entry.value(name, T, 2, 4) for name in "kvq")
    slots, starts = entry.value("slots", T), entry.value("starts", Dim("R", plus=1))
    computed, table = entry.value("computed", R), entry.value("table", R, M)
    state = entry.writer.leaf("state", "kv.0", StateType("kv", 0))
    entry.emit("kv_write", k, v, slots, state)
    out = entry.emit("attention", q, starts, computed, table, state, scale=0.5, num_kv_heads=2)
    entry.writer.output("out", *out)
    planes = tuple(Plane(name, (2, 4), "float32") for name in "kv")
    return program(entry, StateSpec("kv", "paged", planes, 1, 4))


def test_overrides_are_asked_before_the_plugin_and_what_stands_behind_last() -> None:
    asked: list[str] = []

    def refusing(name: str) -> Plugin:
        def bind_op(spec: object) -> Unsupported:
            asked.append(name)
            return Unsupported("not today")

        return Plugin(name, {"bind_op": bind_op})

    last = Plugin("last", {"bind_op": lambda spec: kernel("last")}, [refusing("its_override")])
    binding = bound(one_add(), platform_of(refusing("first"), refusing("second"), behind=last))
    assert asked == ["first", "second", "its_override"]
    (choice,) = binding.entries["run"].choices
    assert choice.provider == "last"


def test_first_kernel_wins_and_keeps_the_refusals_before_and_after_it() -> None:
    platform = platform_of(
        Plugin("acme", {"bind_op": lambda spec: Unsupported("no tile of 8")}),
        Plugin("shy", {"bind_op": lambda spec: None}),
        Plugin("odd", {"bind_op": lambda spec: "a kernel"}),
        Plugin("good", {"bind_op": lambda spec: kernel("good add")}),
        any_op("later"),
    )
    (choice,) = bound(one_add(), platform).entries["run"].choices
    assert (choice.kernel.name, choice.provider, choice.compound) == ("good add", "good", None)
    assert choice.refusals == ("acme: no tile of 8", "odd: answered with a str")


def test_op_that_nobody_has_is_an_error_with_op_place_and_every_refusal() -> None:
    platform = platform_of(
        Plugin("acme", {"bind_op": lambda spec: Unsupported("no tile of 8")}),
        Plugin("other", {"bind_op": lambda spec: Unsupported("no float32")}),
    )
    with pytest.raises(CannotBind) as caught:
        bound(one_add(), platform)
    said = str(caught.value)
    for part in ("'toy'", "add(float32[T, 8]", "layers.3.mlp", "acme: no tile of 8", "no float32"):
        assert part in said


def test_compound_that_nobody_claims_becomes_its_primitives_with_its_name() -> None:
    entry = bound(one_gate(), platform_of(any_op("base"))).entries["run"]
    assert [node.op for node in entry.graph.nodes] == ["split", "silu", "mul"]
    assert [choice.compound for choice in entry.choices] == ["silu_gate"] * 3
    assert {node.scope for node in entry.graph.nodes} == {"layers.3.mlp"}
    (last,) = entry.graph.nodes[-1].outputs
    assert entry.graph.outputs == (("gated", last),)


def test_claimed_compound_stays_whole() -> None:
    def claims(spec: object) -> Kernel | None:
        assert isinstance(spec, OpSpec)
        return kernel("fused") if spec.op == "silu_gate" else None

    platform = platform_of(Plugin("acme", {"bind_op": claims}), any_op("base"))
    entry = bound(one_gate(), platform).entries["run"]
    assert [node.op for node in entry.graph.nodes] == ["silu_gate"]
    assert entry.choices[0].compound is None


def test_primitive_that_is_missing_inside_a_compound_is_an_error() -> None:
    with pytest.raises(CannotBind, match="silu"):
        bound(one_gate(), platform_of(any_op("base", but=["silu"])))


def test_equal_questions_are_asked_once_and_share_a_kernel() -> None:
    asked: list[object] = []

    def bind_op(spec: object) -> Kernel:
        asked.append(spec)
        return kernel(f"{len(asked)}")

    entry = written()
    a, b = entry.value("a", T, 8), entry.value("b", T, 8)
    (c,) = entry.emit("add", a, b)
    (d,) = entry.emit("add", c, b)
    entry.writer.output("d", d)
    binding = bound(program(entry), platform_of(Plugin("acme", {"bind_op": bind_op})))
    first, second = binding.entries["run"].choices
    assert first.kernel is second.kernel
    assert len(asked) == 1


def layouts_plugin(
    package: str, attention: Sequence[StateLayout], write: Sequence[StateLayout]
) -> Plugin:
    answers: dict[str, Answer] = {}
    if attention:
        answers["bind_attention"] = lambda spec: state_kernel(f"{package} attention", *attention)
    if write:
        answers["bind_kv_write"] = lambda spec: state_kernel(f"{package} write", *write)
    return Plugin(package, answers)


def names(platform: Platform) -> list[str]:
    binding = bound(attending(), platform)
    return [choice.kernel.name for choice in binding.entries["run"].choices]


def test_group_takes_the_first_layout_of_attention_that_its_write_has_too() -> None:
    base = layouts_plugin("base", [SECOND, FIRST], [FIRST, SECOND])
    assert names(platform_of(base)) == ["base write in second", "base attention in second"]


def test_attention_whose_layout_nobody_writes_gives_way_to_the_base() -> None:
    base = layouts_plugin("base", [FIRST], [FIRST])
    acme = layouts_plugin("acme", [THIRD], [])
    assert names(platform_of(acme, base)) == ["base write in first", "base attention in first"]


def test_attention_that_gives_way_is_kept_with_both_layouts() -> None:
    base = layouts_plugin("base", [FIRST], [FIRST])
    acme = layouts_plugin("acme", [THIRD], [])
    write, attend = bound(attending(), platform_of(acme, base)).entries["run"].choices
    assert write.refusals == ()
    assert attend.refusals == ("acme: acme attention wants the state 'third', and it is 'first'",)


def test_attention_uses_its_second_layout_where_the_write_has_that_one() -> None:
    base = layouts_plugin("base", [FIRST], [FIRST, SECOND])
    acme = layouts_plugin("acme", [THIRD, SECOND], [])
    assert names(platform_of(acme, base)) == ["base write in second", "acme attention in second"]


def test_pair_of_overrides_brings_its_own_layout() -> None:
    base = layouts_plugin("base", [FIRST], [FIRST])
    acme = layouts_plugin("acme", [THIRD], [THIRD])
    assert names(platform_of(acme, base)) == ["acme write in third", "acme attention in third"]


def turning_and_writing() -> ProgramDef:
    entry = written("layers.0.self_attn")
    k, v, q = (entry.value(name, T, 2, 4) for name in "kvq")
    slots, starts = entry.value("slots", T), entry.value("starts", Dim("R", plus=1))
    computed, table = entry.value("computed", R), entry.value("table", R, M)
    angles = entry.value("angles", T, 4)
    state = entry.writer.leaf("state", "kv.0", StateType("kv", 0))
    (q,) = entry.emit("rotary_kv_write", q, k, v, angles, slots, state, interleaved=False)
    out = entry.emit("attention", q, starts, computed, table, state, scale=0.5, num_kv_heads=2)
    entry.writer.output("out", *out)
    planes = tuple(Plane(name, (2, 4), "float32") for name in "kv")
    return program(entry, StateSpec("kv", "paged", planes, 1, 4))


def test_compound_goes_in_pieces_where_only_they_know_the_layout_of_attention() -> None:
    def writes(spec: object) -> StateKernel | None:
        assert isinstance(spec, KVWriteSpec)
        return state_kernel("acme write", THIRD) if spec.op == "kv_write" else None

    base = layouts_plugin("base", [FIRST], [FIRST])
    acme = [layouts_plugin("acme", [THIRD], []), Plugin("acme", {"bind_kv_write": writes})]
    platform = platform_of(*acme, base, any_op("base"))
    choices = bound(turning_and_writing(), platform).entries["run"].choices
    assert [choice.kernel.name for choice in choices] == [
        "base rotary",
        "base rotary",
        "acme write in third",
        "acme attention in third",
    ]
    assert {choice.compound for choice in choices[:3]} == {"rotary_kv_write"}
    assert choices[2].refusals == ("base: base write wants the state 'first', and it is 'third'",)


def test_kernel_for_a_state_is_passed_over_where_the_op_touches_none() -> None:
    acme = Plugin("acme", {"bind_op": lambda spec: state_kernel("acme add", FIRST)})
    (choice,) = bound(one_add(), platform_of(acme, any_op("base"))).entries["run"].choices
    assert choice.provider == "base"
    assert choice.refusals == ("acme: acme add is for states, and this op touches none",)


def test_no_common_layout_is_an_error_that_lists_them() -> None:
    with pytest.raises(CannotBind, match=r"(?s)'kv'.*third.*first"):
        names(platform_of(layouts_plugin("acme", [THIRD], [FIRST])))


def linears(*, is_tied: bool) -> ProgramDef:
    entry = written()
    weight = entry.value("weight", 50, 8, kind="weight")
    ids = entry.writer.leaf("input", "ids", TensorType((T,), "int32"))
    if is_tied:
        (x,) = entry.emit("embedding", weight, ids)
    else:
        x = entry.value("x", T, 8)
    entry.writer.output("logits", *entry.emit("linear", x, weight))
    return program(entry)


@pytest.mark.parametrize("is_tied", [False, True])
def test_linear_is_told_whether_its_weight_has_other_readers(is_tied: bool) -> None:
    asked: list[object] = []

    def bind_linear(spec: object) -> Kernel:
        asked.append(spec)
        return kernel("linear")

    acme = Plugin("acme", {"bind_linear": bind_linear})
    bound(linears(is_tied=is_tied), platform_of(acme, any_op("base")))
    expected = LinearSpec(
        n_in=8, n_out=50, dtype="float32", weight_dtype="float32", bias=False, shared=is_tied
    )
    assert asked == [expected]


def test_choice_says_which_inputs_its_op_writes() -> None:
    base = layouts_plugin("base", [FIRST], [FIRST])
    write, attend = bound(attending(), platform_of(base)).entries["run"].choices
    assert (write.writes, attend.writes) == ((3,), ())
