"""Ops on what encoders made, taps, and states of the kind `cross`: what they refuse and ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from octavo_platforms.asking import question_of
from octavo_platforms.graph import Attr, Dim, GraphWriter, StateType, TensorType, ValueType
from octavo_platforms.inputs import is_tap, made_tokens
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.specs import CrossAttentionSpec
from octavo_platforms.tensor import host

R, T = Dim("R"), Dim("T")
STARTS = TensorType((Dim("R", plus=1),), "int32")
EACH = TensorType((R,), "int32")
TOKENS = TensorType((T,), "int32")
QUERIES = TensorType((T, 6, 8), "float32")
TABLE = TensorType((R, Dim("C")), "int32")
STATE = StateType("cross", 0)
FREQUENCIES = TensorType((4,), "float32")


def infer(op: str, *types: ValueType, **attrs: Attr) -> list[str]:
    return [str(found) for found in STANDARD[op].infer(types, attrs)]


def test_cross_attention_gives_a_row_for_each_query() -> None:
    given = (QUERIES, STARTS, EACH, TABLE, STATE)
    assert infer("cross_attention", *given, scale=0.3, num_kv_heads=2) == ["float32[T, 6, 8]"]


@pytest.mark.parametrize(
    ("given", "num_kv_heads", "words"),
    [
        ((QUERIES, STARTS, TOKENS, TABLE, STATE), 2, "not one length for each"),
        ((QUERIES, STARTS, EACH, EACH, STATE), 2, "a block table has two axes"),
        ((QUERIES, STARTS, EACH, TABLE, STATE), 4, "H is no multiple of K"),
        ((QUERIES, STARTS, EACH, TABLE, EACH), 2, "has to be a state"),
    ],
)
def test_cross_attention_without_a_length_for_each_request_is_refused(
    given: Sequence[ValueType], num_kv_heads: int, words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        infer("cross_attention", *given, scale=0.3, num_kv_heads=num_kv_heads)


@pytest.mark.parametrize("reach", [{"before": -1}, {"after": 1.5}, {"before": True}])
def test_an_encoder_that_sees_no_count_of_tokens_is_refused(reach: dict[str, Attr]) -> None:
    keys = TensorType((T, 2, 8), "float32")
    attrs: dict[str, Attr] = {"scale": 0.3, "num_kv_heads": 2}
    given = (QUERIES, keys, keys, STARTS)
    whole = infer("encoder_attention", *given, before=None, after=3, **attrs)
    assert whole == ["float32[T, 6, 8]"]
    with pytest.raises(ShapeError, match=r"before|after"):
        infer("encoder_attention", *given, **attrs, **reach)


def test_cross_attention_asks_a_hook_of_its_own() -> None:
    planes = (Plane("k", (2, 8), "float32"), Plane("v", (2, 8), "float32"))
    state = StateSpec("cross", "cross", planes, 1, 4)
    program = ProgramDef("toy", {}, (), (), (state,), ())
    g = GraphWriter()
    types: tuple[ValueType, ...] = (QUERIES, STARTS, EACH, TABLE, STATE)
    given = [
        g.leaf("state" if isinstance(each, StateType) else "input", f"{index}", each)
        for index, each in enumerate(types)
    ]
    g.output("out", *Emitter(g, STANDARD, "")("cross_attention", *given, scale=2, num_kv_heads=2))
    graph = g.finish()
    op = STANDARD["cross_attention"]
    question = question_of(graph.nodes[0], op.hook, graph.types, program, shared=False)
    expected = CrossAttentionSpec(
        num_heads=6, num_kv_heads=2, head_width=8, scale=2.0, dtype="float32", state=state
    )
    assert (question.hook, question.spec) == ("bind_cross_attention", expected)


def test_kept_rows_are_as_wide_as_those_they_are_mixed_with() -> None:
    x, kept = TensorType((T, 24), "float32"), TensorType((9, 24), "float32")
    assert infer("mix_rows", x, TOKENS, kept) == ["float32[T, 24]"]
    with pytest.raises(ShapeError, match="no rows like"):
        infer("mix_rows", x, TOKENS, TensorType((9, 23), "float32"))
    with pytest.raises(ShapeError, match="not one source for each"):
        infer("mix_rows", x, EACH, kept)


def test_each_frequency_has_an_axis() -> None:
    offsets = TensorType((3, T), "int32")
    given = (TOKENS, offsets, FREQUENCIES)
    assert infer("rope_sections", *given, factor=1, sections=(0, 2, 1, 1)) == ["float32[T, 8]"]
    for sections, words in (
        ((0, 1, 2), "3 sections are not one for each"),
        ((0, 1, 2, 3), "has not all the axes"),
        ("xyz", "has to be a tuple"),
    ):
        with pytest.raises(ShapeError, match=words):
            infer("rope_sections", *given, factor=1, sections=sections)
    with pytest.raises(ShapeError, match="does not fit"):
        infer("rope_sections", EACH, offsets, FREQUENCIES, factor=1, sections=(0, 1, 2, 1))


def test_last_rows_are_one_for_each_request() -> None:
    assert infer("last_rows", STARTS, EACH, EACH) == ["int32[R]"]
    with pytest.raises(ShapeError, match="not one for each request"):
        infer("last_rows", STARTS, EACH, TOKENS)


def test_taps_are_no_part_of_a_result() -> None:
    assert is_tap("hidden@layers.7")
    assert not is_tap("hidden")
    outputs = {name: host(np.zeros(2, np.int32)) for name in ("tokens", "pooled", "hidden@7")}
    made = made_tokens(outputs)
    assert set(made.outputs) == {"pooled"}
    assert made.tokens.shape == (2, 1)
