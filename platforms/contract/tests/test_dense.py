"""What norms, scales and caps may be asked, and how a norm's attributes outlive a decomposition."""

from __future__ import annotations

import pytest

from octavo_platforms.graph import Attr, Dim, GraphWriter, TensorType, attrs_of
from octavo_platforms.ops import STANDARD, Emitter, ShapeError

T = Dim("T")
ROWS = TensorType((T, 48), "float32")
HEADS = TensorType((T, 3, 16), "float32")


def infer(op: str, *types: TensorType, **attrs: Attr) -> None:
    found = STANDARD[op].infer(types, attrs)
    assert found == (types[0],)


@pytest.mark.parametrize("op", ["rms_norm", "layer_norm"])
def test_a_norm_has_one_weight_for_all_heads_or_a_row_for_each(op: str) -> None:
    infer(op, ROWS, TensorType((48,), "float32"), eps=1e-5)
    infer(op, HEADS, TensorType((16,), "float32"), eps=1e-5, offset=1.0)
    infer(op, HEADS, TensorType((3, 16), "float32"), eps=1e-5)
    for wrong in ((3,), (16, 3), (4, 16), (3, 16, 1)):
        with pytest.raises(ShapeError, match="does not fit"):
            infer(op, HEADS, TensorType(wrong, "float32"), eps=1e-5)
    with pytest.raises(ShapeError, match="'offset' has to be a number"):
        infer(op, ROWS, TensorType((48,), "float32"), eps=1e-5, offset="one")


def test_a_layer_norm_may_leave_out_its_bias_and_its_weight_with_it() -> None:
    weight = TensorType((48,), "float32")
    for count in range(3):
        infer("layer_norm", ROWS, *[weight] * count, eps=1e-5)
    with pytest.raises(ShapeError, match="no more"):
        infer("layer_norm", ROWS, weight, weight, weight, eps=1e-5)


def test_caps_are_positive_and_scales_are_numbers() -> None:
    infer("softcap", ROWS, cap=30.0)
    infer("scale", ROWS, factor=-0.5)
    with pytest.raises(ShapeError, match="positive"):
        infer("softcap", ROWS, cap=0.0)
    with pytest.raises(ShapeError, match="'factor' has to be a number"):
        infer("scale", ROWS)


def test_queries_are_sharpened_by_a_position_for_each_row() -> None:
    positions = TensorType(ROWS.shape[:1], "int32")
    infer("sharpen", ROWS, positions, beta=0.1, every=16_384)
    infer("sharpen", HEADS, positions, beta=0.1, every=16_384)
    with pytest.raises(ShapeError, match="'every' has to be positive"):
        infer("sharpen", ROWS, positions, beta=0.1, every=0)
    with pytest.raises(ShapeError, match="no position for each row"):
        infer("sharpen", ROWS, TensorType((3,), "int32"), beta=0.1, every=4)


def test_a_norm_of_a_sum_hands_all_its_attributes_on() -> None:
    writer = GraphWriter()
    x, residual = (writer.leaf("input", name, ROWS) for name in ("x", "residual"))
    weight = writer.leaf("weight", "w", TensorType((48,), "float32"))
    decompose = STANDARD["add_rms_norm"].decompose
    assert decompose is not None
    given: dict[str, Attr] = {"eps": 1e-5, "offset": 1.0}
    decompose(Emitter(writer, STANDARD, "here"), (x, residual, weight), given)
    norm = writer.finish().nodes[-1]
    assert (norm.op, attrs_of(norm)) == ("rms_norm", given)
