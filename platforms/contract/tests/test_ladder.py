"""Ladders: every step finds a size, and every size that steps can have is walked."""

from __future__ import annotations

from itertools import product

from octavo_platforms.graph import Dim, GraphWriter, TensorType
from octavo_platforms.ladder import Ladder, climbing, occurring
from octavo_platforms.program import ProgramDef, Symbol

MOST = {"T": 64, "R": 6, "S": 6, "U": 6, "M": 12, "N": 7}
PROGRAM = ProgramDef(
    name="toy",
    entries={},
    weights=(),
    buffers=(),
    states=(),
    symbols=tuple(Symbol(name, most) for name, most in MOST.items()),
)
POLICY = climbing(
    PROGRAM,
    {
        "T": Ladder(least=4, factor=2),
        "S": Ladder(least=1, factor=4),
        "M": Ladder(least=4, factor=4),
    },
)


def test_sizes_climb_to_the_largest_and_others_have_it_alone() -> None:
    assert dict(POLICY.buckets) == {
        "T": (4, 8, 16, 32, 64),
        "R": (6,),
        "S": (1, 4, 6),
        "U": (6,),
        "M": (4, 12),
    }


def test_ladder_ends_with_the_largest_size_whatever_its_steps() -> None:
    assert Ladder(least=16, factor=2).up_to(100) == (16, 32, 64, 100)
    assert Ladder(least=16, factor=2).up_to(64) == (16, 32, 64)
    assert Ladder(least=16, factor=2).up_to(3) == (3,)


def test_walked_sizes_are_those_of_all_steps() -> None:
    counts = product(range(1, 65), range(1, 7), range(1, 7), range(1, 13))
    seen = {
        (POLICY.size("T", t), POLICY.size("R", r), POLICY.size("S", s), POLICY.size("M", m))
        for t, r, s, m in counts
        if r <= t and s <= t
    }
    walked = [(each["T"], each["R"], each["S"], each["M"]) for each in occurring(PROGRAM, POLICY)]
    assert set(walked) == seen
    assert len(walked) == len(seen)


def test_symbols_of_a_programs_own_inputs_climb_and_those_of_its_buffers_do_not() -> None:
    g = GraphWriter()
    g.leaf("input", "block_table.cross", TensorType((Dim("R"), Dim("C")), "int32"))
    g.leaf("buffer", "kept", TensorType((Dim("N"),), "int32"))
    symbols = (Symbol("T", 4), Symbol("R", 4), Symbol("C", 6), Symbol("N", 9))
    program = ProgramDef("toy", {"step": g.finish()}, (), (), (), symbols)
    policy = climbing(program, {"C": Ladder(least=3, factor=2)})
    assert dict(policy.buckets) == {"T": (4,), "R": (4,), "C": (3, 6)}
    assert policy.inputs["step"]["block_table.cross"] == (Dim("R"), Dim("C"))
    assert [each["C"] for each in occurring(program, policy)] == [3, 6]
