"""Driving a platform with a program: logits of prompts, and tokens through the real engine.

What the parity and equality tests share. Knows nothing of checkpoints' files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from octavo.batch import Batch
from octavo.engine import Engine
from octavo.graph.passes import optimised
from octavo.request import Request
from octavo.runner import Runner
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits, Scheduler
from octavo_platforms import bind, place
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.recipes import WeightSource
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import to_float

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Running:
    """A program on an opened device."""

    program: Program
    definition: ProgramDef
    num_blocks: int

    def engine(self, *, vocab_size: int, prefix_caching: bool = True, seed: int = 0) -> Engine:
        """Put an engine on it, with the program's own limits."""
        symbol = self.definition.symbol
        block_size = self.definition.state("kv").block_size
        limits = Limits(
            max_context_tokens=symbol("M").maximum * block_size,
            num_blocks=self.num_blocks,
            block_size=block_size,
            max_requests=symbol("R").maximum,
            max_step_tokens=symbol("T").maximum,
            vocab_size=vocab_size,
            prefix_caching=prefix_caching,
        )
        scheduler = Scheduler(limits, seed=seed)
        batch = Batch(
            scheduler.seats, scheduler.tables, group="kv", max_step_tokens=limits.max_step_tokens
        )
        return Engine(scheduler, Runner(self.program, batch))

    def logits(self, prompt: Sequence[int], *, chunk: int | None = None) -> Logits:
        """Give the logits after each token of a prompt, [T, V], computed in chunks."""
        step = chunk or len(prompt)
        parts = [
            self._forward(prompt[start : start + step], start)
            for start in range(0, len(prompt), step)
        ]
        return np.concatenate(parts)

    def _forward(self, tokens: Sequence[int], computed: int) -> Logits:
        count = len(tokens)
        block_size = self.definition.state("kv").block_size
        num_blocks = -(-(computed + count) // block_size)
        table = np.arange(1, num_blocks + 1, dtype=np.int32)[None, :]
        inputs = StepInputs(
            entry="forward",
            sequence=computed,
            shape=StepShape(count, 1, count, count, computed + count, count),
            token_ids=np.asarray(tokens, np.int32),
            query_starts=np.array([0, count], np.int32),
            seat=np.array([1], np.int32),
            computed=np.array([computed], np.int32),
            rows=np.arange(count, dtype=np.int32),
            sampling=None,
            groups={"kv": GroupInputs(table)},
        )
        return to_float(self.program.launch(inputs).read().outputs["logits"])


def run_on(
    platform: Platform,
    definition: ProgramDef,
    source: WeightSource,
    *,
    num_blocks: int = 64,
    settings: DeviceSettings | None = None,
) -> Running:
    """Optimise, bind, place and compile a program as loading does."""
    better = _with_all_rows(optimised(definition, one_step="step" in platform.info.claims))
    context = platform.open_device((0,), settings or DeviceSettings())
    memory = platform.make_memory(context)
    binding = bind(better, platform, context)
    weights = place(better, binding, source, memory)
    blocks = {state.name: num_blocks for state in better.states}
    spec = CompileSpec(program=better, binding=binding, weights=weights, num_blocks=blocks)
    return Running(platform.compile(spec, context), better, num_blocks)


def _with_all_rows(program: ProgramDef) -> ProgramDef:
    """Let a step want the logits of all its tokens, as `Running.logits` does."""
    most = program.symbol("T").maximum
    symbols = tuple(
        replace(symbol, maximum=max(most, symbol.maximum)) if symbol.name == "S" else symbol
        for symbol in program.symbols
    )
    return replace(program, symbols=symbols)


def generate(
    engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams
) -> list[list[int]]:
    """Run prompts to their end together and give their outputs."""
    outputs: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        engine.add(Request(f"{index}", prompt, params))
        outputs[f"{index}"] = []
    while engine.has_work:
        delta = engine.step()
        for request_id, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            outputs[request_id].append(token)
    return list(outputs.values())
