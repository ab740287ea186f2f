"""Graphs as data: sizes known at launch, hashes that every process agrees on.

Does not know any op but by name.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo_platforms.graph import Dim, Graph, GraphWriter, StateType, TensorType
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.program import ProgramDef, StateSpec, Symbol
from octavo_platforms.tensor import host

GOLDEN = "ed488a3b4b9be959b40aac25a03b60ad12d2c2c998f7f1a035f009d043a8848d"


def small_graph(eps: float = 1e-5) -> Graph:
    writer = GraphWriter()
    emit = Emitter(writer, STANDARD, "model.norm")
    x = writer.leaf("input", "x", TensorType((Dim("T"), 8), "bfloat16"))
    weight = writer.leaf("weight", "w", TensorType((8,), "bfloat16"))
    writer.leaf("literal", "l", TensorType((2,), "float32"), host(np.ones(2, np.float32)))
    (normed,) = emit("rms_norm", x, weight, eps=eps)
    writer.output("y", normed)
    return writer.finish()


def test_hash_is_the_golden_one_whatever_the_process_hashes_with() -> None:
    script = (
        "import importlib.util as i, sys; spec = i.spec_from_file_location('t', sys.argv[1]);"
        "t = i.module_from_spec(spec); spec.loader.exec_module(t);"
        "print(t.small_graph().hash)"
    )
    found = set()
    for seed in ("0", "1", "4242"):
        command = ["-X", "utf8", "-c", script, __file__]
        ended = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        )
        found.add(ended.stdout.strip())
    assert found == {GOLDEN}


def test_hash_changes_with_an_attribute_a_literal_and_a_name() -> None:
    graph = small_graph()
    (literal,) = graph.leaves_of("literal")
    others = [leaf for leaf in graph.leaves if leaf is not literal]
    changed = replace(literal, data=host(np.zeros(2, np.float32)))
    hashes = {
        graph.hash,
        small_graph(eps=1e-6).hash,
        replace(graph, leaves=(*others, changed)).hash,
        replace(graph, outputs=(("z", graph.outputs[0][1]),)).hash,
    }
    assert len(hashes) == 4


def test_program_hash_ignores_the_order_of_entries() -> None:
    a, b = small_graph(), small_graph(eps=1e-6)
    kv = StateSpec("kv", "paged", (), 1, 16)
    programs = [
        ProgramDef("p", entries, (), (), (kv,), (Symbol("T", 8),))
        for entries in ({"a": a, "b": b}, {"b": b, "a": a})
    ]
    assert programs[0].hash == programs[1].hash
    assert programs[0].hash != ProgramDef("p", {"a": b, "b": a}, (), (), (kv,), ()).hash


@given(st.integers(0, 999), st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_dim_is_its_formula_or_refuses(count: int, times: int, over: int, plus: int) -> None:
    dim = Dim("T", times=times, over=over, plus=plus)
    if count * times % over:
        with pytest.raises(ValueError, match="is not whole for T"):
            dim.at({"T": count})
    else:
        assert dim.at({"T": count}) == count * times // over + plus


def test_dims_read_as_in_a_formula() -> None:
    dims = [Dim("T"), Dim("T", times=8), Dim("T", over=4), Dim("R", plus=1)]
    assert [str(dim) for dim in dims] == ["T", "8T", "T/4", "R+1"]
    assert str(TensorType((Dim("T"), 576), "bfloat16")) == "bfloat16[T, 576]"


def test_leaf_is_declared_once_and_cannot_change_its_type() -> None:
    writer = GraphWriter()
    first = writer.leaf("weight", "w", TensorType((4,), "float32"))
    assert writer.leaf("weight", "w", TensorType((4,), "float32")) == first
    assert writer.leaf("input", "w", TensorType((4,), "float32")) != first
    with pytest.raises(ValueError, match=r"cannot be float32\[5\] as well"):
        writer.leaf("weight", "w", TensorType((5,), "float32"))


def test_output_is_named_once() -> None:
    writer = GraphWriter()
    value = writer.leaf("input", "x", TensorType((4,), "float32"))
    writer.output("y", value)
    with pytest.raises(ValueError, match="named twice"):
        writer.output("y", value)


def test_shapes_that_do_not_fit_are_refused_with_op_and_scope() -> None:
    writer = GraphWriter()
    x = writer.leaf("input", "x", TensorType((Dim("T"), 8), "float32"))
    weight = writer.leaf("weight", "w", TensorType((4, 9), "float32"))
    with pytest.raises(ShapeError, match=r"linear at 'layers\.0\.up'.*float32\[T, 8\]"):
        Emitter(writer, STANDARD, "layers.0.up")("linear", x, weight)


def test_state_is_no_tensor() -> None:
    writer = GraphWriter()
    state = writer.leaf("state", "kv.0", StateType("kv", 0))
    with pytest.raises(TypeError, match=r"the state kv\[0\], not a tensor"):
        writer.finish().tensor_type(state)
