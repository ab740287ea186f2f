"""What the native library lacks it refuses by name, so that no model runs without it unseen."""

from __future__ import annotations

import pytest

from octavo_cpu.native.operations import of_attention, of_op
from octavo_platforms.graph import Attr, Dim, TensorType
from octavo_platforms.platform import Instruction, Unsupported
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.specs import AttentionSpec, OpSpec

ROWS = TensorType((Dim("T"), 3, 16), "float32")
KV = StateSpec(
    "kv", "paged", (Plane("k", (3, 16), "float32"), Plane("v", (3, 16), "float32")), 1, 4
)


def norm(weight: tuple[int, ...], **attrs: Attr) -> OpSpec:
    given = tuple(sorted({"eps": 1e-5, **attrs}.items()))
    types = (ROWS, TensorType(weight, "float32"))
    return OpSpec(op="rms_norm", attrs=given, inputs=types, outputs=(ROWS,))


def attention(softcap: float | None = None, *, slopes: bool = False) -> AttentionSpec:
    return AttentionSpec(
        num_heads=3,
        num_kv_heads=3,
        head_width=16,
        scale=0.25,
        dtype="float32",
        state=KV,
        softcap=softcap,
        slopes=slopes,
    )


def test_plain_norms_and_attention_are_instructions() -> None:
    assert isinstance(of_op(norm((16,))), Instruction)
    assert isinstance(of_op(norm((16,), offset=0.0)), Instruction)
    assert isinstance(of_attention(attention()), Instruction)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (of_op(norm((16,), offset=1.0)), "the offset 1.0"),
        (of_op(norm((3, 16))), "a row for each head"),
        (of_attention(attention(30.0)), "below 30.0"),
        (of_attention(attention(slopes=True)), "slopes"),
    ],
)
def test_what_a_norm_or_attention_has_beyond_that_is_refused_by_name(
    answer: object, words: str
) -> None:
    assert isinstance(answer, Unsupported)
    assert words in answer.reason


@pytest.mark.parametrize("op", ["layer_norm", "gelu", "gelu_tanh", "relu", "scale", "softcap"])
def test_ops_that_the_library_does_not_have_are_left_to_others(op: str) -> None:
    assert of_op(OpSpec(op=op, attrs=(), inputs=(ROWS,), outputs=(ROWS,))) is None
