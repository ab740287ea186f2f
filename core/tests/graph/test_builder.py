"""The builder: names follow places, and entries share what has one name."""

from __future__ import annotations

import pytest

from octavo.graph.builder import ProgramBuilder
from octavo_platforms.graph import Dim
from octavo_platforms.ops import ShapeError
from octavo_platforms.program import Symbol
from octavo_platforms.recipes import Take

T = Dim("T")


def builder() -> ProgramBuilder:
    return ProgramBuilder("test", dtype="float32", symbols=[Symbol("T", 8)])


def test_a_weight_is_named_by_its_place_and_taken_from_the_tensor_of_that_name() -> None:
    program = builder()
    g = program.entry("forward")
    x = g.input("x", (T, 4), "float32")
    with g.scope("model"), g.scope("layers.3"):
        g.output("y", g.linear(x, "proj", 6, bias=True))
    made = program.finish()
    assert [(w.name, w.shape) for w in made.weights] == [
        ("model.layers.3.proj.weight", (6, 4)),
        ("model.layers.3.proj.bias", (6,)),
    ]
    assert made.weights[0].recipe == Take("model.layers.3.proj.weight")
    assert made.entries["forward"].nodes[0].scope == "model.layers.3.proj"


def test_entries_share_a_weight_of_one_name() -> None:
    program = builder()
    for name in ("first", "second"):
        g = program.entry(name)
        x = g.input("x", (T, 4), "float32")
        g.output("y", g.linear(x, "proj", 6))
    assert len(program.finish().weights) == 1


def test_shapes_that_do_not_fit_are_refused_with_the_place() -> None:
    g = builder().entry("forward")
    a, b = g.input("a", (T, 4), "float32"), g.input("b", (T, 5), "float32")
    with g.scope("layers.0"), pytest.raises(ShapeError, match=r"add at 'layers.0': .*differ"):
        g.one("add", a, b)
