"""Ops of the base against the oracle, in the tolerance of the contract.

Attention and sampling have files of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from octavo_conformance.compare import close
from octavo_conformance.oracle import ORACLE
from octavo_platforms.graph import Attr, TensorType
from octavo_platforms.ops import STANDARD
from octavo_platforms.platform import Kernel, StateLayout
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.specs import KVWriteSpec, LinearSpec, OpSpec
from octavo_platforms.tensor import Array, DType, cast, host
from octavo_torch.dtypes import NAME_OF
from octavo_torch.memory import from_host, tensor_of, to_host
from octavo_torch.ops import bind_op
from octavo_torch.ops.dense import linear
from octavo_torch.ops.state import beside, kv_read, kv_write, rotary_kv_write
from octavo_torch.states import WRITABLE

HOST = torch.device("cpu")
FLOATS: tuple[DType, ...] = ("float32", "bfloat16", "float16")


def drawn(*shape: int, dtype: DType = "float32", seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    made = cast(host(values), dtype)
    return from_host(made.array, dtype, HOST)


def ints(values: Sequence[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def type_of(tensor: torch.Tensor) -> TensorType:
    return TensorType(tuple(tensor.shape), NAME_OF[tensor.dtype])


def wide(tensor: torch.Tensor) -> Array:
    plain = tensor.double() if tensor.is_floating_point() else tensor
    array: Array = plain.numpy()
    return array


def bound(op: str, inputs: Sequence[torch.Tensor], **attrs: Attr) -> Kernel:
    types = tuple(type_of(each) for each in inputs)
    outputs = STANDARD[op].infer(types, attrs)
    spec = OpSpec(op=op, attrs=tuple(sorted(attrs.items())), inputs=types, outputs=outputs)
    kernel = bind_op(spec)
    assert kernel is not None
    return kernel


def check(op: str, *inputs: torch.Tensor, **attrs: Attr) -> None:
    """Run an op and its oracle on the same numbers."""
    made = bound(op, inputs, **attrs).run(*inputs)
    exact = ORACLE[op](*(wide(each) for each in inputs), **attrs)
    found = made if isinstance(made, tuple) else (made,)
    wanted = exact if isinstance(exact, tuple) else (exact,)
    outputs = STANDARD[op].infer([type_of(each) for each in inputs], attrs)
    for tensor, values, declared in zip(found, wanted, outputs, strict=True):
        assert isinstance(declared, TensorType)
        assert isinstance(values, np.ndarray)
        close(op, to_host(tensor_of(tensor)), values, declared.dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_norms_and_pointwise_ops_agree_with_the_oracle(dtype: DType, rows: int) -> None:
    x, y = drawn(rows, 24, dtype=dtype), drawn(rows, 24, dtype=dtype, seed=1)
    weight = drawn(24, dtype=dtype, seed=2)
    check("rms_norm", x, weight, eps=1e-5)
    check("add_rms_norm", x, y, weight, eps=1e-5)
    check("add", x, y)
    check("mul", x, y)
    check("silu", x)
    check("silu_gate", x)
    check("cast", x, to="float32")
    check("sharpen", x, ints([5, 6, 7, 699, 700][:rows]), beta=0.3, every=7)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_norm_of_large_numbers_stays_finite(dtype: DType) -> None:
    x = drawn(2, 64, dtype=dtype).mul_(200)
    check("rms_norm", x, drawn(64, dtype=dtype), eps=1e-5)


@pytest.mark.parametrize("is_interleaved", [False, True])
@pytest.mark.parametrize("width", [8, 12])
def test_heads_turn_whole_or_in_part_and_next_to_another_table(
    is_interleaved: bool, width: int
) -> None:
    frequencies = drawn(4).abs()
    positions = ints([0, 3, 131_071])
    check("rope_table", positions, frequencies, factor=1.25)
    x = drawn(3, 2, width)
    turn = bound("rotary", (x, drawn(3, 8)), interleaved=is_interleaved)
    for seed in (1, 2):
        table = drawn(3, 8, seed=seed)
        exact = ORACLE["rotary"](wide(x), wide(table), interleaved=is_interleaved)
        assert isinstance(exact, np.ndarray)
        close("rotary", to_host(tensor_of(turn.run(x, table))), exact, "float32")


def test_rows_are_gathered_and_scattered_in_every_kind_of_number() -> None:
    rows = ints([2, 0, 2])
    check("embedding", drawn(4, 3, dtype="bfloat16"), rows)
    check("gather_rows", drawn(4, 3, 2), rows)
    check("gather_rows", ints([5, 6, 7, 8]), rows)
    buffer = torch.zeros(4, 3, dtype=torch.uint32)
    values = torch.tensor([[1, 2, 2**32 - 1]], dtype=torch.uint32)
    inputs = (buffer, ints([3]), values)
    bound("scatter_rows", inputs).run(*inputs)
    assert to_host(buffer).array.tolist() == [[0] * 3] * 3 + [[1, 2, 2**32 - 1]]


@pytest.mark.parametrize("queries", [(3, 1, 4), (1, 1), (2, 0, 1), (5,), ()])
def test_counters_follow_from_the_steps_causes(queries: tuple[int, ...]) -> None:
    starts = ints([0, *np.cumsum(queries).tolist()] if queries else [0])
    computed = ints([5, 0, 17][: len(queries)])
    num_tokens = sum(queries)
    tokens = ints([0] * num_tokens)
    check("positions", tokens, starts, computed)
    at = bound("positions", (tokens, starts, computed)).run(tokens, starts, computed)
    assert isinstance(at, torch.Tensor)
    table = torch.randperm(8 * len(queries), dtype=torch.int32).view(len(queries), 8)
    check("slots", at, starts, table, block_size=4)


def test_parts_heads_and_rows_are_views_of_one_another() -> None:
    x = drawn(3, 12)
    check("split", x, sizes=(4, 8))
    check("heads", x, width=4)
    check("flatten", drawn(3, 2, 4))
    parts = bound("split", (x,), sizes=(4, 8)).run(x)
    assert isinstance(parts, tuple)
    heads = bound("heads", (parts[1],), width=4).run(parts[1])
    assert isinstance(heads, torch.Tensor)
    assert heads.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weight_dtype", ["float32", None])
def test_a_linear_layer_multiplies_and_adds_its_bias(
    dtype: DType, weight_dtype: DType | None
) -> None:
    spec = LinearSpec(
        n_in=24, n_out=8, dtype=dtype, weight_dtype=weight_dtype or dtype, bias=True, shared=True
    )
    x, weight, bias = drawn(5, 24, dtype=dtype), drawn(8, 24, dtype=dtype), drawn(8, dtype=dtype)
    given = (weight, bias) if weight_dtype is None else (weight.float(), bias.float())
    exact = ORACLE["linear"](wide(x), wide(weight), wide(bias))
    assert isinstance(exact, np.ndarray)
    close("linear", to_host(tensor_of(linear(spec).run(x, *given))), exact, dtype)


@pytest.mark.parametrize("layout", WRITABLE)
def test_what_was_turned_and_written_is_read_back_in_every_layout(layout: StateLayout) -> None:
    plane = Plane("k", (2, 8), "float32")
    state = tuple(torch.zeros(layout.shape(plane, num_blocks=3, block_size=4)) for _ in range(2))
    slots, table = ints([9, 0, 6]), drawn(3, 8, seed=3)
    rows = drawn(3, 8 * 8)
    q, k, v = (part.view(3, -1, 8) for part in torch.split_with_sizes(rows, (32, 16, 16), 1))
    spec = KVWriteSpec(
        op="rotary_kv_write",
        num_kv_heads=2,
        head_width=8,
        dtype="float32",
        state=StateSpec("kv", "paged", (plane, plane), 1, 4),
        interleaved=False,
    )
    turned = rotary_kv_write(spec).at(layout).run(q, k, v, table, slots, state)
    written, kept = read(layout, slots, state)
    assert torch.equal(kept, v)
    for given, made in ((q, tensor_of(turned)), (k, written)):
        exact = ORACLE["rotary"](wide(given), wide(table), interleaved=False)
        assert isinstance(exact, np.ndarray)
        close("rotary", to_host(made), exact, "float32")
    kv_write().at(layout).run(v, k, slots, state)
    written, kept = read(layout, slots, state)
    assert torch.equal(written, v)
    assert torch.equal(kept, k)


def read(
    layout: StateLayout, slots: torch.Tensor, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    made = kv_read().at(layout).run(slots, state)
    assert isinstance(made, tuple)
    keys, values = (tensor_of(each) for each in made)
    return keys, values


def test_heads_that_stand_side_by_side_are_joined_without_a_copy() -> None:
    rows = drawn(3, 6 * 4)
    q, k, v = (part.view(3, -1, 4) for part in torch.split_with_sizes(rows, (12, 8, 4), 1))
    for first, second in pairwise((q, k, v)):
        joined = beside(first, second)
        assert torch.equal(joined, torch.cat((first, second), 1))
        assert joined.data_ptr() == first.data_ptr()
    for first, second in ((k, q), (q, v), (q, k.clone())):
        assert torch.equal(beside(first, second), torch.cat((first, second), 1))
