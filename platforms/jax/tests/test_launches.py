"""Launches: two roads to the same tokens, states that stay in place, contexts of many chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

import octavo_jax
from octavo.models.decoder import Limits
from octavo.testing.drive import run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_conformance.oracle import ORACLE
from octavo_conformance.steps import Step, ints
from octavo_jax.arrays import owned
from octavo_jax.ops.attention import CHUNK_SLOTS, attention
from octavo_jax.ops.state import kv_write
from octavo_jax.states import Planes
from octavo_platforms.inputs import SamplingRows, StepInputs
from octavo_platforms.loaded import Platform
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import padded
from octavo_platforms.tensor import DType, storage

LIMITS = Limits(max_step_tokens=16, max_requests=3, max_blocks=4, block_size=4)


def toy() -> ProgramDef:
    return llama.program(llama.spec(), limits=LIMITS)


def step(entry: str) -> StepInputs:
    """Give two requests, the second of one token at temperature 1."""
    settings = np.zeros((2, 3), np.uint32)
    settings[1] = (np.float32(1.0).view(np.uint32), 5, 0)
    causes = Step(
        queries=(5, 1),
        token_ids=(7, 8, 9, 10, 11, 12),
        tables=((1, 2), (3,)),
    )
    sampling = SamplingRows(ints([1, 2]), settings)
    return replace(causes.inputs(entry, 0, {}), sampling=sampling)


def test_forward_then_sample_gives_the_tokens_of_one_step() -> None:
    program = run_on(Platform(octavo_jax.platform), toy(), RandomWeights(toy())).program
    whole = program.launch(padded(step("step"), program.shape_policy)).read()
    inputs = padded(step("forward"), program.shape_policy)
    forward = program.launch(inputs)
    extra = {"logits": forward.ref("logits")}
    chosen = program.launch(replace(inputs, entry="sample", extra=extra)).read()
    assert whole.tokens.shape == (2, 1)
    assert chosen.tokens.tolist() == whole.tokens.tolist()
    assert forward.read().outputs["logits"].shape == (2, 101)
    assert forward.ready()


@pytest.mark.parametrize("dtype", ["int32", "bfloat16"])
def test_arrays_given_to_a_launch_are_copied(dtype: DType) -> None:
    given = np.ones(4096, storage(dtype))
    kept = owned(given, dtype)
    assert kept.dtype.name == dtype
    assert not np.shares_memory(kept, given)


@pytest.mark.parametrize("num_tokens", [1, 2, 16])
def test_donated_planes_are_written_in_place(num_tokens: int) -> None:
    plane = jax.ShapeDtypeStruct((1000, 16, 2, 8), jnp.float32)  # type: ignore[no-untyped-call]
    rows = jax.ShapeDtypeStruct((num_tokens, 2, 8), jnp.float32)  # type: ignore[no-untyped-call]
    at = jax.ShapeDtypeStruct((num_tokens,), jnp.int32)  # type: ignore[no-untyped-call]

    def write_and_read(planes: Planes, k: jax.Array, slots: jax.Array) -> tuple[object, object]:
        (written,) = kv_write(k, k, slots, planes)
        return written, written[0][slots[0]]

    compiled = jax.jit(write_and_read, donate_argnums=0).lower((plane, plane), rows, at).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 1000 * 16 * 2 * 8 * 4


def test_contexts_of_many_chunks_are_attended_to_the_end() -> None:
    draw = np.random.default_rng(0)
    num_blocks, block_size = 3 * CHUNK_SLOTS // 8, 8
    planes = tuple(
        draw.standard_normal((num_blocks + 1, block_size, 2, 4)).astype(np.float32)
        for _ in range(2)
    )
    planes[0][0] = planes[1][0] = np.nan
    table = ints([1 + draw.permutation(num_blocks), [0] * num_blocks])
    table[1, 0] = 5
    causes = Step(queries=(20, 1), computed=(3 * CHUNK_SLOTS - 21, 2), tables=table.tolist())
    q = draw.standard_normal((21, 6, 4)).astype(np.float32)
    exact = ORACLE["attention"](q, causes.starts, causes.before, table, planes, scale=0.5)
    found = attention(
        jnp.asarray(q),
        jnp.asarray(causes.starts),
        jnp.asarray(causes.before),
        jnp.asarray(table),
        (jnp.asarray(planes[0]), jnp.asarray(planes[1])),
        scale=0.5,
    )
    assert isinstance(exact, np.ndarray)
    np.testing.assert_allclose(np.asarray(found), exact, rtol=1e-5, atol=1e-6)
