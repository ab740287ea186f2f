"""Level 3, batches: a platform that says so gives a token the same bits whatever is beside it.

Sixteen prompts are computed alone and whole; then in steps drawn at random, each a mixture of
some of them, in chunks from one token on. Logits after every token are compared as bits. Then
the same through the real engine, in a cache so small that requests are preempted, and with
prefixes that others have left.

Knows nothing of how a platform does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from octavo import SamplingParams
from octavo.models.decoder import Limits
from octavo.testing.drive import Running, generate, run_on
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama, recurrent
from octavo_conformance.bench import Bench
from octavo_conformance.case import promise, promise_by_dtype
from octavo_conformance.drawing import random
from octavo_conformance.steps import Step
from octavo_conformance.verdict import NotClaimed, insist
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.inputs import GroupInputs
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import Array, DType

CLAIM = "batch_invariant"
NUM_PROMPTS = 16
LIMITS = Limits(max_step_tokens=160, max_requests=NUM_PROMPTS, max_blocks=24, block_size=4)
VOCAB_SIZE = 101
ROUNDS, FEW_ROUNDS = 20, 6
Toy = Callable[..., ProgramDef]


@promise_by_dtype(level=3, area="batch", dtypes=("float32", "bfloat16"))
def gives_the_same_bits_in_every_batch_and_chunk(bench: Bench, dtype: DType) -> None:
    """Logits are the same bits alone, among fifteen others, and in any chunks."""
    running = _opened(bench, dtype=dtype)
    prompts = _prompts()
    alone = [_Contexts(running, prompts).whole(index) for index in range(NUM_PROMPTS)]
    for number in range(ROUNDS):
        together = _Contexts(running, prompts).mixed(np.random.default_rng(number))
        for index, found in together.items():
            where = f"prompt {index} of {len(prompts[index])} tokens, in mixture {number}"
            insist(np.array_equal(found, alone[index]), f"{where}: its logits have other bits")


@promise_by_dtype(level=3, area="batch", dtypes=("float32", "bfloat16"))
def gives_the_same_bits_behind_states_in_every_batch_and_chunk(bench: Bench, dtype: DType) -> None:
    """So are those of layers that overwrite their states: a convolution and a scan."""
    running = _opened(bench, dtype=dtype, toy=recurrent.program)
    prompts = _prompts()
    alone = [_Contexts(running, prompts).whole(index) for index in range(NUM_PROMPTS)]
    for number in range(FEW_ROUNDS):
        together = _Contexts(running, prompts).mixed(np.random.default_rng(number))
        for index, found in together.items():
            where = f"prompt {index} of {len(prompts[index])} tokens, in mixture {number}"
            insist(np.array_equal(found, alone[index]), f"{where}: its logits have other bits")


@promise(level=3, area="batch")
def gives_the_same_tokens_after_prefix_hits_and_preemption(bench: Bench) -> None:
    """Sampled tokens are the same alone, and in a crowd that shares prefixes and a small cache."""
    running = _opened(bench, dtype="float32", num_blocks=60)
    shared = _prompts()[0]
    prompts = [[*shared[: 3 * index], *rest] for index, rest in enumerate(_prompts())]
    params = [
        SamplingParams(temperature=1.0, seed=seed, max_tokens=16) for seed in range(NUM_PROMPTS)
    ]
    alone = [
        generate(running.engine(vocab_size=VOCAB_SIZE), [prompt], each)[0]
        for prompt, each in zip(prompts, params, strict=True)
    ]
    engine = running.engine(vocab_size=VOCAB_SIZE)
    for _ in range(2):
        found = generate(engine, prompts, params)
        insist(found == alone, f"the crowd got {found}, each alone {alone}")
    insist(engine.stats.preemptions > 0, "nobody was preempted: the case proves too little")
    insist(engine.stats.prefix_hit_tokens > 0, "nobody hit a prefix: the case proves too little")


def _opened(
    bench: Bench, *, dtype: DType, num_blocks: int | None = None, toy: Toy = llama.program
) -> Running:
    if CLAIM not in bench.platform.info.claims:
        raise NotClaimed(f"it does not claim '{CLAIM}'")
    program = toy(llama.spec(), dtype=dtype, limits=LIMITS)
    return run_on(
        bench.platform,
        program,
        RandomWeights(program),
        num_blocks=num_blocks or 1 + NUM_PROMPTS * LIMITS.max_blocks,
        settings=DeviceSettings(bench.subject.mode, batch_invariant=True),
    )


def _prompts() -> list[list[int]]:
    drawn = random("prompts")
    lengths = drawn.integers(2, 40, NUM_PROMPTS)
    return [drawn.integers(0, VOCAB_SIZE, length).tolist() for length in lengths.tolist()]


class _Contexts:
    """Prompts on their way through a program, each in blocks of its own."""

    def __init__(self, running: Running, prompts: Sequence[Sequence[int]]) -> None:
        self._running = running
        self._prompts = prompts
        self._computed = [0] * len(prompts)
        self._found: list[list[Array]] = [[] for _ in prompts]

    def whole(self, index: int) -> Array:
        """Compute one prompt in one step. Shapes: returns [tokens, V]."""
        self._launch({index: len(self._prompts[index])})
        return np.concatenate(self._found[index])

    def mixed(self, drawn: np.random.Generator) -> Mapping[int, Array]:
        """Compute all prompts in steps at random; give the logits of each."""
        while left := self._left():
            some = [
                index for index in drawn.permutation(list(left)).tolist() if drawn.random() < 0.7
            ]
            parts = {index: int(drawn.integers(1, min(left[index], 9) + 1)) for index in some}
            if some:
                self._launch(parts)
        return {index: np.concatenate(found) for index, found in enumerate(self._found)}

    def _left(self) -> dict[int, int]:
        lengths = enumerate(map(len, self._prompts))
        left = {index: length - self._computed[index] for index, length in lengths}
        return {index: count for index, count in left.items() if count}

    def _launch(self, parts: Mapping[int, int]) -> None:
        starts = {index: self._computed[index] for index in parts}
        step = Step(
            queries=tuple(parts.values()),
            computed=tuple(starts.values()),
            token_ids=[
                token
                for index, count in parts.items()
                for token in self._prompts[index][starts[index] : starts[index] + count]
            ],
            seats=[1 + index for index in parts],
            rows=range(sum(parts.values())),
            tables=[_blocks(index, starts[index] + count) for index, count in parts.items()],
        )
        inputs = step.inputs("forward", 0, {})
        rows = np.array([[1 + index] for index in parts], np.int32)
        states = self._running.definition.states
        own = {
            each.name: GroupInputs(rows[:, :0], rows) for each in states if each.kind == "recurrent"
        }
        inputs = replace(inputs, groups={**inputs.groups, **own})
        result = self._running.program.launch(inputs).read()
        logits, at = result.outputs["logits"].array, 0
        for index, count in parts.items():
            self._found[index].append(logits[at : at + count].copy())
            self._computed[index] += count
            at += count


def _blocks(index: int, context: int) -> list[int]:
    first = 1 + index * LIMITS.max_blocks
    return list(range(first, first - (-context // LIMITS.block_size)))
