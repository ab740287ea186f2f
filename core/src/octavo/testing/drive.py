"""Driving a platform with a program: logits of prompts, and tokens through the real engine.

What the parity and equality tests share. Knows nothing of checkpoints' files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from octavo.config import DEFAULT_BLOCK_SIZE
from octavo.engine import Engine
from octavo.graph.passes import optimised, sharded, with_windows
from octavo.graph.passes.copies import COPIES
from octavo.graph.passes.shard import GROUP
from octavo.heart import heart
from octavo.kv.rings import groups_of, rings_of
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.law import Held, hold
from octavo_platforms import bind, place
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.inputs import GroupInputs, StepInputs, StepShape
from octavo_platforms.loaded import Platform
from octavo_platforms.philox import gumbel
from octavo_platforms.platform import Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.ranks import GroupSpec
from octavo_platforms.recipes import WeightSource
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import DType, to_float

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Running:
    """A program on an opened device."""

    program: Program
    definition: ProgramDef
    num_blocks: int

    @property
    def block_size(self) -> int:
        """Give the slots of a block, or where no state stands in blocks, how many tokens one is."""
        found = [each.block_size for each in self.definition.states if each.kind != "recurrent"]
        return found[0] if found else DEFAULT_BLOCK_SIZE

    def engine(
        self,
        *,
        vocab_size: int,
        prefix_caching: bool = True,
        seed: int = 0,
        max_in_flight: int = 1,
    ) -> Engine:
        """Put an engine on it, with the program's own limits."""
        symbol = self.definition.symbol
        limits = Limits(
            max_context_tokens=symbol("M").maximum * self.block_size,
            num_blocks=self.num_blocks if _has_blocks(self.definition) else None,
            block_size=self.block_size,
            max_requests=symbol("R").maximum,
            max_step_tokens=symbol("T").maximum,
            vocab_size=vocab_size,
            prefix_caching=prefix_caching,
        )
        parts = heart(
            self.program,
            limits,
            seed=seed,
            states=self.definition.states,
            num_blocks={each.name: self.num_blocks for each in self.definition.states},
            num_copies={each.name: each.maximum for each in self.definition.symbols}.get(COPIES, 0),
        )
        parts.runner.warm_up()
        return parts.engine(max_in_flight=max_in_flight)

    def logits(self, prompt: Sequence[int], *, chunk: int | None = None) -> Logits:
        """Give the logits after each token of a prompt, [T, V], computed in chunks."""
        step = chunk or len(prompt)
        parts = [
            self._forward(prompt[start : start + step], start)
            for start in range(0, len(prompt), step)
        ]
        return np.concatenate(parts)

    def hold(
        self,
        prompt: Sequence[int],
        output: Sequence[int],
        *,
        temperature: float = 0.0,
        seed: int = 0,
        dtype: DType = "float32",
        chunk: int | None = None,
    ) -> Held:
        """Hold an output, greedy or drawn, against these logits and the noise of its seed."""
        context = [*prompt, *output]
        scores = self.logits(context, chunk=chunk)[len(prompt) - 1 : -1]
        if temperature:
            noise = gumbel(seed, np.arange(len(prompt), len(context)), scores.shape[1])
            scores = scores / np.float32(temperature) + noise
        return hold(scores, output, dtype)

    def _forward(self, tokens: Sequence[int], computed: int) -> Logits:
        count = len(tokens)
        num_blocks = -(-(computed + count) // self.block_size)
        table = np.arange(1, num_blocks + 1, dtype=np.int32)[None, :]
        seat = np.array([1], np.int32)
        inputs = StepInputs(
            entry="forward",
            sequence=computed,
            shape=StepShape(count, 1, count, count, computed + count, count),
            token_ids=np.asarray(tokens, np.int32),
            query_starts=np.array([0, count], np.int32),
            seat=seat,
            computed=np.array([computed], np.int32),
            rows=np.arange(count, dtype=np.int32),
            sampling=None,
            groups={
                **{state.name: GroupInputs(table) for state in self.definition.states},
                **groups_of(seat, rings_of(self.definition.states)),
            },
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
    """Shard, optimise, bind, place and compile a program as loading does.

    A rank alone gives layers with a window a group of their own.
    """
    opening = settings or DeviceSettings()
    group = GroupSpec(name=GROUP, members=tuple(range(opening.ranks)), rank=opening.rank)
    view = sharded(definition, ranks=group.size) if group.size > 1 else with_windows(definition)
    return run_view(platform, view, source, num_blocks=num_blocks, settings=opening, groups=[group])


def run_view(
    platform: Platform,
    view: ProgramDef,
    source: WeightSource,
    *,
    num_blocks: int,
    settings: DeviceSettings,
    groups: Sequence[GroupSpec],
    numbers: Mapping[str, int] | None = None,
) -> Running:
    """Run the view of one rank, which talks in some groups; those of one rank are left out.

    `numbers` say which parts of weights it gets, where not those of its numbers in the groups.
    """
    better = _with_all_rows(optimised(view, one_step="step" in platform.info.claims))
    context = platform.open_device((0,), settings)
    memory = platform.make_memory(context)
    met = {
        group.name: platform.make_communicator(group, context) for group in groups if group.size > 1
    }
    binding = bind(better, platform, context, communicators=met)
    rank_of = numbers or {group.name: group.number for group in groups}
    weights = place(better, binding, source, memory, rank_of=rank_of)
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


def _has_blocks(program: ProgramDef) -> bool:
    return any(each.kind != "recurrent" for each in program.states)


def generate(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | Sequence[SamplingParams],
) -> list[list[int]]:
    """Run prompts to their end together, with settings for all or for each; give their outputs."""
    outputs: dict[str, list[int]] = {}
    each = [params] * len(prompts) if isinstance(params, SamplingParams) else params
    for index, (prompt, wanted) in enumerate(zip(prompts, each, strict=True)):
        engine.add(Request(f"{index}", prompt, wanted))
        outputs[f"{index}"] = []
    while engine.has_work:
        delta = engine.step()
        for request_id, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            outputs[request_id].append(token)
    return list(outputs.values())
