"""Two engines that share experts and no requests: what one of the processes does.

    together("octavo.testing.apart:run", ranks=2, device="cpu", toy="experts", ...)

Knows nothing of references; whoever asked holds the tokens against one.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.graph.passes.spread import GROUP, spread
from octavo.heart import heart
from octavo.ranks.lockstep import LockStep
from octavo.ranks.waves import Waves
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.drive import run_view
from octavo.testing.random_weights import RandomWeights
from octavo.testing.ranked import LIMITS, NUM_BLOCKS, TOYS
from octavo.testing.together import Json, Place
from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.ranks import GroupSpec

WEIGHT_SCALE = 0.5
VOCAB_SIZE = 101
PATIENCE_S = 60.0
_WAIT_S = 0.05


def run(
    place: Place,
    *,
    device: str,
    toy: str,
    prompts: Sequence[Sequence[Sequence[int]]],
    max_tokens: Sequence[int],
    depth: int,
) -> Json:
    """Give the outputs of this rank's prompts, greedy and sampled by turns.

    `prompts` and `max_tokens` are every rank's. Tells also how many launches without requests
    were made for the others' sake.
    """
    folder = place.rendezvous.removeprefix("file://").rpartition("/")[0]
    waves = Waves(
        rank=place.rank,
        addresses=[f"ipc://{folder}/waves-{rank}" for rank in range(place.ranks)],
        patience_s=PATIENCE_S,
    )
    program = _program(place, waves, device=device, toy=toy)
    program.warm_up(lambda stage, done, total: None)
    engine = heart(program, _limits()).engine(max_in_flight=depth)
    outputs: dict[str, list[int]] = {}
    for number, prompt in enumerate(prompts[place.rank]):
        params = SamplingParams(
            temperature=0.8 * (number % 2), seed=number, max_tokens=max_tokens[place.rank]
        )
        engine.add(Request(f"{number}", prompt, params))
        outputs[f"{number}"] = []
    while engine.has_work:
        delta = engine.step()
        for name, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            outputs[name].append(token)
    num_empty = _take_part(program, waves)
    waves.close()
    return {"outputs": list(outputs.values()), "num_empty": num_empty}


def _take_part(program: LockStep, waves: Waves) -> int:
    """Launch for the others' sake until nobody has work; count these launches."""
    waves.rest()
    num_empty = 0
    while True:
        if waves.is_called(wait_s=_WAIT_S):
            program.take_part()
            num_empty += 1
        elif waves.are_others_resting and not waves.is_called():
            return num_empty


def _limits() -> Limits:
    return Limits(
        max_context_tokens=LIMITS.max_blocks * LIMITS.block_size,
        num_blocks=NUM_BLOCKS,
        block_size=LIMITS.block_size,
        max_requests=LIMITS.max_requests,
        max_step_tokens=LIMITS.max_step_tokens,
        vocab_size=VOCAB_SIZE,
    )


def _program(place: Place, waves: Waves, *, device: str, toy: str) -> LockStep:
    whole = TOYS[toy]()
    ranks = tuple(range(place.ranks))
    running = run_view(
        discover.load(device),
        spread(whole, ranks=place.ranks),
        RandomWeights(whole, scale=WEIGHT_SCALE),
        num_blocks=NUM_BLOCKS,
        settings=DeviceSettings(
            threads=1, rank=place.rank, ranks=place.ranks, rendezvous=place.rendezvous
        ),
        groups=[GroupSpec(name=GROUP, members=ranks, rank=place.rank)],
    )
    talking = [
        name
        for name, graph in running.definition.entries.items()
        if any(node.op == "expert_part" for node in graph.nodes)
    ]
    return LockStep(
        running.program,
        waves,
        together=talking,
        groups=[state.name for state in running.definition.states],
    )
