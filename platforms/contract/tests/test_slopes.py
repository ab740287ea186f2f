"""Operands behind an attention's state: which there may be, and which is which.

No kernel here is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octavo_platforms.asking import question_of
from octavo_platforms.graph import Attr, Dim, GraphWriter, StateType, TensorType
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.specs import AttentionSpec
from octavo_platforms.tensor import DType

T, R, M = Dim("T"), Dim("R"), Dim("M")
HEADS, WIDTH = 6, 4
STATE = StateSpec("kv", "paged", tuple(Plane(name, (2, WIDTH), "bfloat16") for name in "kv"), 1, 4)


def asked(behind: Sequence[tuple[int, DType]], **attrs: Attr) -> AttentionSpec:
    """Write attention with operands of so many numbers behind its state; give what it asks."""
    writer = GraphWriter()
    emit = Emitter(writer, STANDARD, "toy")
    given: dict[str, tuple[tuple[Dim | int, ...], DType]] = {
        "q": ((T, HEADS, WIDTH), "bfloat16"),
        "starts": ((Dim("R", plus=1),), "int32"),
        "computed": ((R,), "int32"),
        "table": ((R, M), "int32"),
    }
    causes = [
        writer.leaf("input", name, TensorType(shape, dtype))
        for name, (shape, dtype) in given.items()
    ]
    state = writer.leaf("state", "kv.0", StateType("kv", 0))
    more = [
        writer.leaf("input", f"behind {place}", TensorType((count,), dtype))
        for place, (count, dtype) in enumerate(behind)
    ]
    (out,) = emit("attention", *causes, state, *more, scale=0.5, num_kv_heads=2, **attrs)
    writer.output("out", out)
    graph = writer.finish()
    program = ProgramDef("toy", {"run": graph}, (), (), (STATE,), ())
    (node,) = graph.nodes
    spec = question_of(node, "bind_attention", graph.types, program, shared=False).spec
    assert isinstance(spec, AttentionSpec)
    return spec


SINKS: tuple[int, DType] = (HEADS, "bfloat16")
SLOPES: tuple[int, DType] = (HEADS, "float32")


def test_what_stands_behind_the_state_is_asked_for_and_told_apart() -> None:
    assert asked([]).told_apart([]) == (None, None)
    assert asked([SINKS]).told_apart(["sinks"]) == ("sinks", None)
    assert asked([SLOPES], slopes=True).told_apart(["slopes"]) == (None, "slopes")
    both = asked([SINKS, SLOPES], slopes=True)
    assert (both.sinks, both.slopes) == (True, True)
    assert both.told_apart(["sinks", "slopes"]) == ("sinks", "slopes")
    assert asked([SINKS]) != asked([SLOPES], slopes=True)


@pytest.mark.parametrize(
    ("behind", "attrs", "words"),
    [
        ([], {"slopes": True}, "once each"),
        ([SINKS, SLOPES], {}, "once each"),
        ([SINKS, SINKS, SLOPES], {"slopes": True}, "once each"),
        ([(2, "float32")], {"slopes": True}, "not one for each head"),
        ([(HEADS, "bfloat16")], {"slopes": True}, "slopes are float32"),
        ([SLOPES], {"slopes": 1}, "true or false"),
    ],
)
def test_other_operands_are_refused(
    behind: Sequence[tuple[int, DType]], attrs: dict[str, Attr], words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        asked(behind, **attrs)
