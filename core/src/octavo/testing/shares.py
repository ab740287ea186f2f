"""A rank's share of a toy, on a platform found by name: what worker processes of tests run.

Every rank writes the whole program, cuts its own part and places the same random weights, so
that nothing but the cut can differ from the toy on one device. Knows no platform.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from octavo.graph.passes import shard, sharded, stages
from octavo.graph.passes.stages import staged
from octavo.ranks.worker import Made, Share
from octavo.relay import Relay
from octavo.testing.drive import run_view
from octavo.testing.random_weights import RandomWeights
from octavo.testing.ranked import NUM_BLOCKS, TOYS
from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.inputs import Pending, StepInputs
from octavo_platforms.platform import Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.ranks import GroupSpec

BUILD = "octavo.testing.shares:toy_program"
WEIGHT_SCALE = 0.5
Way = Literal["layers", "features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyShare:
    """Which toy, on which platform, and how it is cut.

    `waits_in` is a folder for a `Witness`: each stage says there what it begins, and the last
    waits in step `waits_at` until the first has begun the one after, for `patience_s`.
    """

    toy: str
    platform: str
    way: Way
    waits_in: str | None = None
    waits_at: int = 0
    patience_s: float = 60.0

    @property
    def arguments(self) -> str:
        """Write it down for a worker."""
        return msgspec.json.encode(self).decode()


def toy_program(share: Share, arguments: str) -> Made:
    """Build a rank's share of a toy, for a worker."""
    told = msgspec.json.decode(arguments, type=ToyShare)
    whole = TOYS[told.toy]()
    group, part = _part(told.way, whole, share)
    running = run_view(
        discover.load(told.platform),
        part,
        RandomWeights(whole, scale=WEIGHT_SCALE),
        num_blocks=NUM_BLOCKS,
        settings=DeviceSettings(
            threads=1, rank=share.rank, ranks=share.ranks, rendezvous=share.rendezvous
        ),
        groups=[GroupSpec(name=group, members=tuple(range(share.ranks)), rank=share.rank)],
    )
    states = running.definition.states
    if told.waits_in is None:
        return Made(running.program, states)
    waits_at = told.waits_at if share.rank == share.ranks - 1 else 0
    folder = Path(told.waits_in)
    watched = Witness(running.program, f"{share.rank}", folder, waits_at, told.patience_s)
    return Made(watched, states)


def _part(way: Way, whole: ProgramDef, share: Share) -> tuple[str, ProgramDef]:
    """Cut a rank's part; name the group in which all of them talk."""
    if way == "layers":
        return stages.GROUP, staged(whole, ["model.layers.1"], share.rank)
    return shard.GROUP, sharded(whole, ranks=share.ranks)


class Witness(Relay):
    """A stage that proves which launches overlap, by waiting for what must come first.

    Every stage leaves a file when it begins a step. In one step the last waits until the first
    has begun the next: without two steps on their way at once, that never comes.
    """

    def __init__(
        self, program: Program, name: str, folder: Path, waits_at: int, patience_s: float
    ) -> None:
        super().__init__(program)
        self._name = name
        self._folder = folder
        self._waits_at = waits_at
        self._patience_s = patience_s

    def launch(self, inputs: StepInputs) -> Pending:
        """Say that a step begins, perhaps wait for the first stage's next, and launch.

        Raises: TimeoutError, when that does not come.
        """
        (self._folder / f"{self._name}.{inputs.sequence}").touch()
        deadline = time.monotonic() + self._patience_s
        while inputs.sequence == self._waits_at and not self._has_next_begun():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no stage began step {self._waits_at + 1} meanwhile")
            time.sleep(0.002)
        return self._program.launch(inputs)

    def _has_next_begun(self) -> bool:
        return (self._folder / f"0.{self._waits_at + 1}").exists()
