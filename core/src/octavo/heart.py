"""The heart, put together: a scheduler, its batch and a runner on one program.

    heart(program, limits) ─> Heart ─> engine(max_in_flight=...) ─> Engine

Whoever loads, tests or measures gets the same parts from here, joined in the same way.

Knows nothing of how a program came to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from octavo.batch import Batch
from octavo.copying import Copier
from octavo.engine import Engine
from octavo.graph.passes.copies import COPY
from octavo.kv.groups import Group
from octavo.kv.rings import can_share, held_groups, num_snapshots_of, rings_of
from octavo.runner import Runner
from octavo.sampling.needs import offers_of
from octavo.scheduler import Gate, Limits, Scheduler
from octavo.scheduler.limits import joined
from octavo_platforms.platform import Program
from octavo_platforms.program import StateSpec

GROUP = "kv"


@dataclass(frozen=True, slots=True)
class Heart:
    """The parts of an engine, for those who want to move them one by one."""

    scheduler: Scheduler
    batch: Batch
    runner: Runner

    def engine(self, *, max_in_flight: int = 1) -> Engine:
        """Give the loop around them."""
        return Engine(self.scheduler, self.runner, max_in_flight=max_in_flight)


def heart(
    program: Program,
    limits: Limits,
    *,
    group: str = GROUP,
    seed: int = 0,
    states: Sequence[StateSpec] = (),
    num_blocks: Mapping[str, int] | None = None,
    num_copies: int = 0,
    gates: Sequence[Gate] = (),
) -> Heart:
    """Put the parts together.

    `states` are all groups of the program, and `num_blocks` what each has room for, the limits'
    where nothing is said; without states there is one `group`, which sees everything. Recurrent
    groups have rows by seat, and snapshots where there are rows behind these and the program can
    copy, `num_copies` in a launch. Unless every group can give what is behind a prefix, none is
    remembered. `gates` are asked before anybody is seated. A step obeys both the limits' rules and
    the program's.

    Raises: OperatorError, where they allow nothing; DeviceError, for a program that cannot
        generate.
    """
    room = num_blocks or {state.name: limits.num_blocks or 0 for state in states}
    rings, held = rings_of(states), held_groups(states, room) if states else None
    if held is None and limits.num_blocks is not None:
        held = [Group(group, limits.num_blocks)]
    num_snapshots = 0
    if COPY in program.entries and num_copies:
        num_snapshots = num_snapshots_of(states, room, max_requests=limits.max_requests)
    shares = limits.prefix_caching and (can_share(states) or num_snapshots > 0)
    scheduler = Scheduler(
        replace(
            limits, prefix_caching=shares, rules=joined(limits.rules, program.shape_policy.rules)
        ),
        seed=seed,
        offers=offers_of(program.entries, max_logprobs=limits.max_logprobs),
        groups=held,
        num_snapshots=num_snapshots,
        gates=gates,
    )
    tables = {each.group.name: each.tables for each in scheduler.holdings.groups}
    batch = Batch(scheduler.seats, tables, max_step_tokens=limits.max_step_tokens, rings=rings)
    copier = Copier(program, rings, limits.max_requests, num_copies) if num_snapshots else None
    return Heart(scheduler, batch, Runner(program, batch, copier=copier))
