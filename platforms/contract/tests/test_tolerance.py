"""Tolerances: errors in units of epsilon, relative to the larger of value and row.

Does not know any platform.
"""

from __future__ import annotations

import numpy as np
import pytest

from octavo_platforms.ops import STANDARD
from octavo_platforms.tensor import DType
from octavo_platforms.tolerance import EPSILON, UNITS, allowed_units, error_units, gap_limit


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_one_epsilon_of_a_lone_value_is_one_unit(dtype: DType) -> None:
    exact = np.asarray([[3.0]])
    assert error_units(exact * (1 + EPSILON[dtype]), exact, dtype) == pytest.approx(1.0)


def test_cancelled_result_is_judged_by_its_row() -> None:
    exact = np.asarray([[1.0, -1.0, 0.0]])
    found = exact + np.asarray([[0.0, 0.0, EPSILON["float32"]]])
    assert error_units(found, exact, "float32") == pytest.approx(np.sqrt(1.5))


def test_not_a_number_where_a_number_belongs_is_infinitely_wrong() -> None:
    exact = np.ones((2, 3))
    spoilt = exact.copy()
    spoilt[1, 2] = np.nan
    assert error_units(spoilt, exact, "float32") == float("inf")
    assert error_units(np.zeros((0, 3)), np.zeros((0, 3)), "float32") == 0.0


def test_tolerances_are_of_ops_that_exist_and_others_are_exact() -> None:
    assert set(UNITS) <= set(STANDARD)
    assert allowed_units("embedding", "bfloat16") == 0.0
    assert allowed_units("linear", "float32") > allowed_units("linear", "bfloat16") > 0


def test_gap_grows_with_the_largest_logit() -> None:
    logits = np.asarray([1.0, -8.0, 2.0])
    assert gap_limit(logits, "bfloat16") == pytest.approx(4 * 2.0**-7 * 8)
