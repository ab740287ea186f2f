"""Ops on what seats keep, and on logits: what they refuse."""

from __future__ import annotations

import pytest

from octavo_platforms.graph import Attr, Dim, TensorType
from octavo_platforms.ops import STANDARD, ShapeError

R, T, S = Dim("R"), Dim("T"), Dim("S")
STARTS = TensorType((Dim("R", plus=1),), "int32")
EACH = TensorType((R,), "int32")
TOKENS = TensorType((T,), "int32")
LOGITS = TensorType((S, 97), "bfloat16")


def infer(op: str, *types: TensorType, **attrs: Attr) -> list[str]:
    return [str(found) for found in STANDARD[op].infer(types, attrs)]


def test_accept_gives_a_row_of_tokens_and_three_numbers_for_each_request() -> None:
    chosen = TensorType((Dim("R", times=3),), "int32")
    found = infer("accept", TOKENS, chosen, STARTS, EACH, EACH, width=3)
    assert found == ["int32[R, 3]", "int32[R]", "int32[R]", "int32[R]"]
    assert infer("draft_rows", STARTS, EACH, width=3) == ["int32[3R]"]


def test_choices_of_another_width_are_refused() -> None:
    chosen = TensorType((Dim("R", times=2),), "int32")
    with pytest.raises(ShapeError, match="not 3 choices for each request"):
        infer("accept", TOKENS, chosen, STARTS, EACH, EACH, width=3)


def test_starts_without_an_end_are_refused() -> None:
    with pytest.raises(ShapeError, match="one start for each request and an end"):
        infer("draft_rows", EACH, EACH, width=3)


def test_picking_needs_a_column_of_integers() -> None:
    with pytest.raises(ShapeError, match="no column"):
        infer("pick", TOKENS, TOKENS, TOKENS)
    with pytest.raises(ShapeError, match="is no column"):
        infer("pick", TOKENS, TOKENS, TOKENS, TensorType((Dim("N"), 1), "int32"))


def test_mask_has_a_bit_for_each_id() -> None:
    assert infer("mask_logits", LOGITS, TensorType((S, 4), "uint32")) == ["bfloat16[S, 97]"]
    with pytest.raises(ShapeError, match="no bit for each"):
        infer("mask_logits", LOGITS, TensorType((S, 3), "uint32"))


def test_scores_are_float32_and_ranks_integers() -> None:
    found = infer("score", LOGITS, TensorType((S,), "int32"))
    assert found == ["float32[S]", "int32[S]"]
