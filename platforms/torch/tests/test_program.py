"""Programs: a small generator by hand, launched as core does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from octavo_platforms import bind, place
from octavo_platforms.graph import Dim, Graph, GraphWriter, StateType, TensorType
from octavo_platforms.inputs import GroupInputs, SamplingRows, StepInputs, StepResult, StepShape
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import STANDARD, Emitter
from octavo_platforms.platform import DeviceContext, Program
from octavo_platforms.program import BufferDef, Plane, ProgramDef, StateSpec, Symbol, WeightDef
from octavo_platforms.recipes import Take
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, DType, HostTensor, host

V, E, H, K, D, BLOCK, NUM_BLOCKS = 50, 16, 4, 2, 4, 4, 12
T, R, S, M, U, N = (Dim(symbol) for symbol in "TRSMUN")


class Weights:
    """Random tensors by name."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        shapes = {"embed": (V, E), "qkv": ((H + 2 * K) * D, E), "out": (E, H * D)}
        self._of = {
            name: host(generator.standard_normal(shape).astype(np.float32))
            for name, shape in shapes.items()
        }

    def names(self) -> list[str]:
        return list(self._of)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._of[name].shape

    def dtype(self, name: str) -> DType:
        return self._of[name].dtype

    def read(self, name: str) -> HostTensor:
        return self._of[name]


def generator() -> ProgramDef:
    """Write a one-layer generator: `forward`, `sample`."""
    g = GraphWriter()
    f = Emitter(g, STANDARD, "layer")
    tokens = g.leaf("input", "token_ids", TensorType((T,), "int32"))
    starts = g.leaf("input", "query_starts", TensorType((Dim("R", plus=1),), "int32"))
    computed = g.leaf("input", "computed", TensorType((R,), "int32"))
    rows = g.leaf("input", "rows", TensorType((S,), "int32"))
    table = g.leaf("input", "block_table.kv", TensorType((R, M), "int32"))
    embed = g.leaf("weight", "embed", TensorType((V, E), "float32"))
    qkv = g.leaf("weight", "qkv", TensorType(((H + 2 * K) * D, E), "float32"))
    out = g.leaf("weight", "out", TensorType((E, H * D), "float32"))
    state = g.leaf("state", "kv.0", StateType("kv", 0))
    (positions,) = f("positions", tokens, starts, computed)
    (slots,) = f("slots", positions, starts, table, block_size=BLOCK)
    frequencies = g.leaf(
        "literal", "f", TensorType((2,), "float32"), host(np.array([1.0, 0.1], np.float32))
    )
    (angles,) = f("rope_table", positions, frequencies, factor=1.0)
    (x,) = f("embedding", embed, tokens)
    (joined,) = f("linear", x, qkv)
    parts = f("split", joined, sizes=(H * D, K * D, K * D))
    q, k, v = (f("heads", part, width=D)[0] for part in parts)
    (turned,) = f("rotary_kv_write", q, k, v, angles, slots, state, interleaved=False)
    (found,) = f("attention", turned, starts, computed, table, state, scale=0.5, num_kv_heads=K)
    (flat,) = f("flatten", found)
    (y,) = f("linear", flat, out)
    (total,) = f("add", x, y)
    (picked,) = f("gather_rows", total, rows)
    (logits,) = f("linear", picked, embed)
    g.output("logits", logits)
    recipes = [
        WeightDef("embed", (V, E), "float32", Take("embed")),
        WeightDef("qkv", ((H + 2 * K) * D, E), "float32", Take("qkv")),
        WeightDef("out", (E, H * D), "float32", Take("out")),
    ]
    plane = (K, D)
    return ProgramDef(
        name="toy",
        entries={"forward": g.finish(), "sample": sampling()},
        weights=tuple(recipes),
        buffers=(BufferDef("seat_sampling", (N, 3), "uint32"),),
        states=(
            StateSpec(
                "kv",
                "paged",
                (Plane("k", plane, "float32"), Plane("v", plane, "float32")),
                1,
                BLOCK,
            ),
        ),
        symbols=tuple(Symbol(name, 8) for name in "TRSMUN"),
    )


def sampling() -> Graph:
    """Write the entry that turns logits into tokens."""
    g = GraphWriter()
    f = Emitter(g, STANDARD, "sample")
    logits = g.leaf("input", "logits", TensorType((S, V), "float32"))
    seats = g.leaf("input", "seat", TensorType((S,), "int32"))
    positions = g.leaf("input", "computed", TensorType((S,), "int32"))
    changed = g.leaf("input", "sampling_seats", TensorType((U,), "int32"))
    values = g.leaf("input", "sampling_values", TensorType((U, 3), "uint32"))
    buffer = g.leaf("buffer", "seat_sampling", TensorType((N, 3), "uint32"))
    f("scatter_rows", buffer, changed, values)
    (tokens,) = f("sample", logits, buffer, seats, positions)
    g.output("tokens", tokens)
    return g.finish()


@pytest.fixture
def program(platform: Platform, context: DeviceContext) -> Program:
    definition = generator()
    binding = bind(definition, platform, context)
    memory = platform.make_memory(context)
    weights = place(definition, binding, Weights(), memory)
    return platform.compile(
        CompileSpec(
            program=definition, binding=binding, weights=weights, num_blocks={"kv": NUM_BLOCKS}
        ),
        context,
    )


def inputs(
    requests: Sequence[tuple[Sequence[int], int, Sequence[int]]],
    *,
    sampling_rows: SamplingRows | None = None,
) -> StepInputs:
    """Make a step of requests: new tokens, computed positions, blocks."""
    queries = [len(tokens) for tokens, _, _ in requests]
    starts = np.concatenate(([0], np.cumsum(queries))).astype(np.int32)
    width = max((len(blocks) for _, _, blocks in requests), default=1)
    table = np.zeros((len(requests), width), np.int32)
    for row, (_, _, blocks) in enumerate(requests):
        table[row, : len(blocks)] = blocks
    before = np.array([past for _, past, _ in requests], np.int32)
    longest = max(queries, default=0)
    shape = StepShape(int(starts[-1]), len(requests), len(requests), longest, longest + 20, None)
    return StepInputs(
        entry="forward",
        sequence=0,
        shape=shape,
        token_ids=np.array([t for tokens, _, _ in requests for t in tokens], np.int32),
        query_starts=starts,
        seat=np.arange(1, len(requests) + 1, dtype=np.int32),
        computed=before,
        rows=starts[1:] - np.int32(1),
        sampling=sampling_rows,
        groups={"kv": GroupInputs(table)},
    )


def logits_of(result: StepResult) -> Array:
    return result.outputs["logits"].array


PROMPT = (3, 14, 15, 9, 26, 5, 35)


def test_chunks_prefixes_and_batch_mates_change_no_logit(program: Program) -> None:
    whole = logits_of(program.launch(inputs([(PROMPT, 0, (1, 2))])).read())[0]
    program.launch(inputs([(PROMPT[:3], 0, (3, 4))])).read()
    program.launch(inputs([(PROMPT[3:6], 3, (3, 4)), ((1, 2), 0, (7,))])).read()
    last = inputs([((9,), 2, (7,)), (PROMPT[6:], 6, (3, 4)), (PROMPT[4:], 4, (1, 6))])
    chunked = logits_of(program.launch(last).read())
    assert np.allclose(chunked[1], whole, rtol=1e-4, atol=1e-5)
    assert np.allclose(chunked[2], whole, rtol=1e-4, atol=1e-5)


def test_an_empty_launch_gives_empty_outputs(program: Program) -> None:
    assert logits_of(program.launch(inputs([])).read()).shape == (0, V)


def test_the_host_may_overwrite_its_arrays_once_launch_returns(program: Program) -> None:
    expected = logits_of(program.launch(inputs([(PROMPT, 0, (1, 2))])).read())
    step = inputs([(PROMPT, 0, (1, 2))])
    pending = program.launch(step)
    for array in (step.token_ids, step.query_starts, step.computed, step.rows):
        array[:] = -1
    assert np.array_equal(logits_of(pending.read()), expected)


def test_logits_stay_on_the_device_between_two_entries(program: Program) -> None:
    first = inputs([(PROMPT, 0, (1, 2)), ((4,), 0, (3,))])
    pending = program.launch(first)
    extra = {"logits": pending.ref("logits")}
    second = StepInputs(
        entry="sample",
        sequence=1,
        shape=first.shape,
        token_ids=first.token_ids,
        query_starts=first.query_starts,
        seat=first.seat,
        computed=first.computed,
        rows=first.rows,
        sampling=None,
        groups=first.groups,
        extra=extra,
    )
    chosen = program.launch(second)
    assert chosen.ready()
    result = chosen.read()
    assert result.tokens.shape == (2, 1)
    assert result.num_tokens.tolist() == [1, 1]
    assert np.array_equal(result.tokens[:, 0], logits_of(pending.read()).argmax(1))


def test_seats_keep_their_settings_between_launches(program: Program) -> None:
    words = np.array([[np.float32(5.0).view(np.uint32), 1, 2]], np.uint32)
    logits = host(np.zeros((1, V), np.float32)).array
    tokens = []
    for rows in (None, SamplingRows(np.array([1], np.int32), words), None):
        step = inputs([((1,), 0, (1,))], sampling_rows=rows)
        made = StepInputs(
            entry="sample",
            sequence=0,
            shape=step.shape,
            token_ids=step.token_ids,
            query_starts=step.query_starts,
            seat=step.seat,
            computed=step.computed,
            rows=step.rows,
            sampling=rows,
            groups=step.groups,
            extra={"logits": logits},
        )
        tokens.append(int(program.launch(made).read().tokens[0, 0]))
    assert tokens[0] == 0
    assert tokens[1] == tokens[2] != 0


def test_warming_up_changes_no_request_and_reports_its_progress(program: Program) -> None:
    expected = logits_of(program.launch(inputs([(PROMPT, 0, (1, 2))])).read())
    program.launch(inputs([(PROMPT[:4], 0, (3, 4))])).read()
    reports: list[tuple[str, int, int]] = []
    program.warm_up(lambda stage, done, total: reports.append((stage, done, total)))
    found = logits_of(program.launch(inputs([(PROMPT[4:], 4, (3, 4))])).read())
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert reports[-1][1] == reports[-1][2] > 1


def test_a_closed_program_closes_again_and_launches_nothing(program: Program) -> None:
    program.close()
    program.close()
    assert not program.entries
