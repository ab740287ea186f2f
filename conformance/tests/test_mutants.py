"""Planted bugs are found, each by a case that the sound platform passes.

Does not know the bugs.
"""

from __future__ import annotations

import pytest

from octavo_conformance.mutants.hunt import hunt
from octavo_conformance.mutants.mistakes import paged, right
from octavo_conformance.mutants.planted import MUTANTS, Mutant, WrongAttention
from octavo_conformance.oracle.platform import OraclePlatform


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_planted_bug_is_found(mutant: Mutant) -> None:
    if mutant.name == "imports a framework to say hello":
        pytest.importorskip("torch")
    assert hunt(mutant) is not None


def test_platform_without_a_bug_survives_the_hunt() -> None:
    assert hunt(Mutant("none", OraclePlatform(), ())) is None


def test_paged_attention_that_mistakes_are_planted_in_is_sound() -> None:
    sound = OraclePlatform(overrides=[WrongAttention(paged(right))])
    assert hunt(Mutant("none", sound, ("attention",))) is None
