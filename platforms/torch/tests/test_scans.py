"""Mixers in tiles and token after token: the same rows and states, whatever is in a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from octavo_platforms.graph import Attr, Dim, TensorType
from octavo_platforms.inputs import StepInputs, StepShape
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.specs import MixerSpec
from octavo_torch.ops.scans import bind_state_mixer
from octavo_torch.parcel import delivered

T, R = Dim("T"), Dim("R")
WIDTH = 2
HEADS, FEATURES, GROUPS, NUMBERS, TAPS = 4, 3, 2, 5, 4
STEPS = [(200,), (1, 70, 0, 2, 131), (1, 1, 1), (3, 17)]
Case = tuple[MixerSpec, list[torch.Tensor]]


def spec_of(
    op: str, shapes: Sequence[tuple[int | Dim, ...]], plane: Plane, **attrs: Attr
) -> MixerSpec:
    state = StateSpec("memory", "recurrent", (plane,), 1, ring=WIDTH)
    causes = (
        TensorType((Dim("R", plus=1),), "int32"),
        TensorType((R,), "int32"),
        TensorType((R, WIDTH), "int32"),
    )
    own = tuple(TensorType(tuple(shape), "float32") for shape in shapes)
    return MixerSpec(
        op=op, inputs=(*own, *causes), attrs=tuple(attrs.items()), state=state, plane=plane.name
    )


def drawn(shapes: Sequence[tuple[int | Dim, ...]], tokens: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(tokens)
    sizes = [[tokens if isinstance(size, Dim) else size for size in shape] for shape in shapes]
    return [torch.randn(size, generator=draw) for size in sizes]


def case(name: str, tokens: int) -> Case:
    """Give a mixer and its own operands; steps are positive, and a memory's corrections below 1."""
    rows = (T, HEADS)
    if name == "causal_conv":
        shapes: list[tuple[int | Dim, ...]] = [(T, FEATURES), (FEATURES, TAPS)]
        return (
            spec_of(name, shapes, Plane("p", (TAPS - 1, FEATURES), "float32", ("W", "C"))),
            drawn(shapes, tokens),
        )
    if name == "gated_delta":
        shared = (T, GROUPS, NUMBERS)
        shapes = [shared, shared, (*rows, FEATURES), rows, (HEADS,), rows]
        plane = Plane("p", (HEADS, NUMBERS, FEATURES), "float32", ("H", "N", "D"))
        given = drawn(shapes, tokens)
        given[3], given[5] = given[3].abs() * 0.3, given[5].sigmoid()
        return spec_of(name, shapes, plane, scale=0.4, eps=1e-6), given
    decays = (HEADS, NUMBERS) if name == "numbers" else (HEADS,)
    shared = (T, GROUPS, NUMBERS)
    shapes = [(*rows, FEATURES), rows, decays, shared, shared, (HEADS,)]
    plane = Plane("p", (HEADS, FEATURES, NUMBERS), "float32", ("H", "D", "N"))
    given = drawn(shapes, tokens)
    given[1] = given[1].abs() * 0.3
    return spec_of("selective_scan", shapes, plane), given


def ran(
    given: Case, lengths: Sequence[int], *, is_by_size: bool, is_invariant: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a kernel on states that hold something, the null row no number; give rows and states."""
    spec, operands = given
    kernel = bind_state_mixer(spec, is_by_size=is_by_size, is_invariant=is_invariant)
    assert kernel is not None
    bound = kernel.at(kernel.layouts[0])
    count, (plane,) = len(lengths), spec.state.planes
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    ends = torch.arange(1, 1 + WIDTH * count, dtype=torch.int32).view(count, WIDTH)
    is_there = torch.arange(-WIDTH, 0) + torch.tensor(lengths)[:, None] >= 0
    source = ends[:, 0].clone()
    source[-1] = 0
    targets = ends * is_there
    state = torch.randn(1 + WIDTH * count, *plane.shape, generator=torch.Generator().manual_seed(1))
    state[0] = float("nan")
    inputs = StepInputs(
        entry="step",
        sequence=0,
        shape=StepShape(
            int(starts[-1]), count, 0, max(lengths), 0, 1 if set(lengths) == {1} else None
        ),
        token_ids=np.zeros(starts[-1], np.int32),
        query_starts=starts,
        seat=np.arange(1, 1 + count, dtype=np.int32),
        computed=np.zeros(count, np.int32),
        rows=np.zeros(count, np.int32),
        sampling=None,
        groups={},
    )
    more = {}
    if bound.prepare is not None:
        more["prepared"] = delivered({0: bound.prepare(inputs)}, torch.device("cpu"))[0]
    tokens = torch.from_numpy(starts)
    made = bound.run(*operands, tokens, source, targets, (state,), **more)
    assert isinstance(made, torch.Tensor)
    return made, state[1:]


@pytest.mark.parametrize("lengths", STEPS)
@pytest.mark.parametrize("name", ["one decay", "numbers", "gated_delta", "causal_conv"])
def test_what_is_done_at_once_is_what_is_done_token_after_token(
    name: str, lengths: Sequence[int]
) -> None:
    given = case(name, sum(lengths))
    found = ran(given, lengths, is_by_size=False)
    one_by_one = ran(given, lengths, is_by_size=True)
    torch.testing.assert_close(found, one_by_one, rtol=2e-5, atol=2e-5)
    assert found[0].isfinite().all()
    assert found[1].isfinite().all()


def test_a_convolution_of_one_token_each_is_that_of_the_same_tokens_in_a_step_with_more() -> None:
    spec, (x, taps) = case("causal_conv", 5)
    short, _ = ran((spec, [x[:3], taps]), (1, 1, 1), is_by_size=False)
    together, _ = ran((spec, [x, taps]), (1, 1, 3), is_by_size=False)
    torch.testing.assert_close(short[:2], together[:2])


@pytest.mark.parametrize("name", ["one decay", "numbers", "gated_delta", "causal_conv"])
def test_an_invariant_mixer_gives_a_request_the_same_bits_alone_and_beside_others(
    name: str,
) -> None:
    spec, given = case(name, 40)
    rows = [place for place, each in enumerate(spec.inputs[:-3]) if isinstance(each.shape[0], Dim)]
    alone = [each[7:] if place in rows else each for place, each in enumerate(given)]
    together, _ = ran((spec, given), (1, 6, 33), is_by_size=False, is_invariant=True)
    by_itself, _ = ran((spec, alone), (33,), is_by_size=False, is_invariant=True)
    assert torch.equal(together[7:], by_itself)
