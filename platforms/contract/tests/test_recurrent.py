"""Recurrent states: their sizes and layouts, what mixers' hooks are asked, and padding.

No kernel here is ever run.
"""

from __future__ import annotations

import numpy as np
import pytest

from octavo_platforms.asking import question_of
from octavo_platforms.graph import Dim, Graph, GraphWriter, StateType, TensorType
from octavo_platforms.inputs import GroupInputs, Ints, StepInputs, StepShape, arrays_of
from octavo_platforms.ops import STANDARD, Emitter, ShapeError
from octavo_platforms.platform import StateLayout
from octavo_platforms.program import Plane, ProgramDef, StateSpec
from octavo_platforms.shapes import ShapePolicy, padded
from octavo_platforms.specs import CopySpec, MixerSpec

CONV = Plane("conv", (3, 6), "bfloat16", ("W", "C"))
SSM = Plane("ssm", (2, 4, 5), "float32", ("H", "D", "N"))
STATE = StateSpec("memory", "recurrent", (CONV, SSM), layers=2, ring=3)
T, R, STARTS = Dim("T"), Dim("R"), Dim("R", plus=1)


def mixers(*, weight: tuple[int, int] = (6, 4), plane: str | None = "conv") -> Graph:
    writer = GraphWriter()
    x = writer.leaf("input", "x", TensorType((T, 6), "bfloat16"))
    taps = writer.leaf("weight", "taps", TensorType(weight, "bfloat16"))
    starts = writer.leaf("input", "query_starts", TensorType((STARTS,), "int32"))
    source = writer.leaf("input", "source", TensorType((R,), "int32"))
    targets = writer.leaf("input", "targets", TensorType((R, 3), "int32"))
    emit = Emitter(writer, STANDARD, "toy")
    for layer in range(2):
        memory = writer.leaf("state", f"memory.{layer}", StateType("memory", layer))
        (x,) = emit("causal_conv", x, taps, starts, source, targets, memory, plane=plane)
        emit("state_copy", source, source, memory)
    return writer.finish()


def test_a_row_has_no_slots_and_holds_every_plane() -> None:
    assert STATE.axes == ("B", "W", "C", "H", "D", "N")
    assert STATE.bytes_per_block == 2 * (3 * 6 * 2 + 2 * 4 * 5 * 4)
    layout = StateLayout("as named", STATE.axes)
    shapes = [layout.shape(each, num_blocks=7, block_size=1) for each in STATE.planes]
    assert shapes == [(7, 3, 6), (7, 2, 4, 5)]
    assert STATE.place_of("ssm") == 1
    with pytest.raises(KeyError, match="no plane 'keys' in the state 'memory'"):
        STATE.place_of("keys")


@pytest.mark.parametrize("sizes", [{"block_size": 4}, {"ring": 0}])
def test_a_recurrent_state_with_slots_or_without_rows_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="it takes blocks of 1 and rings of 1 or more"):
        StateSpec("memory", "recurrent", (SSM,), 1, **sizes)


def test_layers_of_one_group_ask_one_question() -> None:
    graph = mixers()
    program = ProgramDef("toy", {"run": graph}, (), (), (STATE,), ())
    asked = {
        question_of(node, STANDARD[node.op].hook, graph.types, program, shared=False).spec
        for node in graph.nodes
    }
    types = tuple(graph.tensor_type(leaf.value) for leaf in graph.leaves if leaf.kind != "state")
    assert asked == {
        MixerSpec(
            op="causal_conv",
            attrs=(("plane", "conv"),),
            inputs=types,
            plane="conv",
            state=STATE,
        ),
        CopySpec(state=STATE),
    }


def test_operands_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="has no row for each channel"):
        mixers(weight=(5, 4))
    with pytest.raises(ShapeError, match="looks at no token before"):
        mixers(weight=(6, 1))
    with pytest.raises(ShapeError, match="'plane' has to name a plane"):
        mixers(plane=None)


def test_padded_requests_have_null_rows_and_a_ring_as_wide_as_before() -> None:
    none: Ints = np.zeros((2, 0), np.int32)
    inputs = StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(3, 2, 0, 2, 5, None),
        token_ids=np.zeros(3, np.int32),
        query_starts=np.array([0, 1, 3], np.int32),
        seat=np.array([2, 1], np.int32),
        computed=np.array([4, 0], np.int32),
        rows=np.zeros(0, np.int32),
        sampling=None,
        groups={"memory": GroupInputs(none, np.array([[4, 5, 6], [1, 2, 3]], np.int32))},
    )
    made = padded(inputs, ShapePolicy({"T": (4,), "R": (4,), "M": (8,)}))
    rings = arrays_of(made)["state_rows.memory"]
    assert isinstance(rings, np.ndarray)
    assert rings.tolist() == [[4, 5, 6], [1, 2, 3], [0, 0, 0], [0, 0, 0]]
