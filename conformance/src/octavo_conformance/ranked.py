"""What one rank of several does for the cases of level 2: every check, in an order all share.

A check is a function of a `Rank`: it makes the inputs of all ranks, runs the own part, and
insists on what the oracle says that this rank gets. What is found goes back as plain data. Checks
compare when all their launches are made, so that ranks which find different things still do the
same. One that raises anything else is the last: the others notice a lost peer.

Knows nothing of who started the processes (`crew`).
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from octavo.graph.builder import GraphBuilder
from octavo.testing.together import Json, Place
from octavo_conformance.bench import Running, Tensors, foreign_in
from octavo_conformance.case import FLOATS
from octavo_conformance.compare import close, reals, same
from octavo_conformance.drawing import normal, random
from octavo_conformance.level2_ops.node import TOKEN_IDS, T, builder, declare
from octavo_conformance.oracle import ranks as oracle
from octavo_conformance.oracle.values import Ints, floats, widen
from octavo_conformance.steps import Step, ints
from octavo_conformance.subject import Subject, find, given
from octavo_conformance.verdict import Failed
from octavo_platforms.bind import bind
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.graph import Dim, Value
from octavo_platforms.place import place
from octavo_platforms.program import ProgramDef
from octavo_platforms.ranks import Communicator, GroupSpec
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, DType, HostTensor, host

GROUP = "crew"
STUMBLED = "stopped on rank"
WIDTH = 24
QUERIES = (5, 1, 0, 16)

Check = Callable[["Rank", DType], None]
Write = Callable[[GraphBuilder], Mapping[str, Value]]


class Rank:
    """One rank's device and group. `seen` is what it got, for comparing ranks to the bit."""

    def __init__(self, subject: Subject, settings: DeviceSettings) -> None:
        self.subject = subject
        self.settings = settings
        self.foreign: set[str] = set()
        self.seen: list[bytes] = []
        self.claims: list[Callable[[], None]] = []
        self.platform = subject.load()
        self.context = self.platform.open_device((0,), settings)
        self.memory = self.platform.make_memory(self.context)
        members = tuple(range(settings.ranks))
        spec = GroupSpec(name=GROUP, members=members, rank=settings.rank)
        self.group: Communicator = self.platform.make_communicator(spec, self.context)

    @property
    def number(self) -> int:
        """Give the own number."""
        return self.settings.rank

    def start(
        self, dtype: DType, write: Write, weights: Mapping[str, HostTensor] = MappingProxyType({})
    ) -> Running:
        """Start a program of one entry, `run`."""
        made = builder(dtype)
        g = made.entry("run")
        for name, value in write(g).items():
            g.output(name, value)
        program: ProgramDef = made.finish()
        binding = bind(program, self.platform, self.context, communicators={GROUP: self.group})
        self.foreign |= foreign_in(binding, self.subject.own)
        placed = place(program, binding, Tensors(weights), self.memory)
        spec = CompileSpec(program=program, binding=binding, weights=placed, num_blocks={})
        return Running(self.platform.compile(spec, self.context))

    def close(self, op: str, found: HostTensor, exact: Array, dtype: DType) -> None:
        """Compare with the oracle, once the check has made all its launches."""
        self.claims.append(partial(close, op, found, exact, dtype))

    def same(self, what: str, found: HostTensor, expected: HostTensor) -> None:
        """Compare to the bit, once the check has made all its launches."""
        self.claims.append(partial(same, what, found, expected))

    def note(self, tensor: HostTensor) -> None:
        """Remember what every rank should have alike."""
        self.seen.append(np.ascontiguousarray(tensor.array).tobytes())


def run(place: Place, *, name: str, origin: str, mode: str | None, installed: bool) -> Json:
    """Do every check, and tell of each what is wrong, what all should have alike, who ran it."""
    device = name if mode is None else f"{name}:{mode}"
    module, _, plugin = origin.partition(":")
    subject = find(device) if installed else _given(module, plugin, name=name, mode=mode)
    settings = DeviceSettings(mode, rank=place.rank, ranks=place.ranks, rendezvous=place.rendezvous)
    rank = Rank(subject, settings)
    found: dict[str, Json] = {}
    over: str | None = None
    for check, dtypes in CHECKS.items():
        for dtype in dtypes:
            rank.foreign, rank.seen, rank.claims = set(), [], []
            wrong = over or _wrong(check, rank, dtype)
            over = over or _ended(wrong, check)
            digest = hashlib.sha256(b"".join(rank.seen)).hexdigest()
            found[id_of(check, dtype)] = [wrong, digest, sorted(rank.foreign)]
    rank.group.close()
    rank.context.close()
    return found


def id_of(check: Check, dtype: DType) -> str:
    """Name a check on a dtype."""
    return f"{check.__name__}[{dtype}]"


def sums(rank: Rank, dtype: DType) -> None:
    """all_reduce gives each rank the sum, and all the same bits."""
    running = rank.start(
        dtype, lambda g: {"out": g.one("all_reduce", _x(g, dtype), **_group(rank))}
    )
    for queries in QUERIES:
        every = _drawn(rank, "sum", dtype, queries, WIDTH)
        step = Step(queries=(queries,) if queries else ())
        found = running.run("run", step, x=every[rank.number])["out"]
        rank.close("all_reduce", found, _own(rank, oracle.all_reduce(_wide(every))), dtype)
        rank.note(found)


def joins(rank: Rank, dtype: DType) -> None:
    """all_gather joins along either axis, exactly."""

    def write(g: GraphBuilder) -> Mapping[str, Value]:
        x = _x(g, dtype)
        return {
            f"out{axis}": g.one("all_gather", x, axis=axis, **_group(rank)) for axis in range(2)
        }

    running = rank.start(dtype, write)
    for queries in QUERIES[:2]:
        every = _drawn(rank, "join", dtype, queries, WIDTH)
        found = running.run("run", Step(queries=(queries,)), x=every[rank.number])
        for axis in range(2):
            exact = _own(rank, oracle.all_gather(_wide(every), axis=axis))
            rank.close("all_gather", found[f"out{axis}"], exact, dtype)
            rank.note(found[f"out{axis}"])


def deals_sums(rank: Rank, dtype: DType) -> None:
    """reduce_scatter gives each rank its own part of the sum."""

    def write(g: GraphBuilder) -> Mapping[str, Value]:
        rows = g.input("x", (Dim("T", times=rank.settings.ranks), WIDTH), dtype)
        return {
            f"out{axis}": g.one("reduce_scatter", rows, axis=axis, **_group(rank))
            for axis in range(2)
        }

    running = rank.start(dtype, write)
    for queries in QUERIES[:2]:
        every = _drawn(rank, "deal", dtype, queries * rank.settings.ranks, WIDTH)
        found = running.run("run", Step(queries=(queries,)), x=every[rank.number])
        for axis in range(2):
            exact = _own(rank, oracle.reduce_scatter(_wide(every), axis=axis))
            rank.close("reduce_scatter", found[f"out{axis}"], exact, dtype)


def exchanges_shares(rank: Rank, dtype: DType) -> None:
    """all_to_all brings every share and its counts; not-a-number in padding spoils nothing."""
    ranks, kinds, room = rank.settings.ranks, 2, 4

    def write(g: GraphBuilder) -> Mapping[str, Value]:
        x = g.input("x", (ranks * room, WIDTH), dtype)
        counts = g.input("counts", (ranks * kinds,), "int32")
        made = g.op("all_to_all", x, counts, **_group(rank))
        return dict(zip(("out", "received"), made, strict=True))

    running = rank.start(dtype, write)
    draw = random("counts")
    counts = [ints(draw.integers(0, room // kinds + 1, ranks * kinds)) for _ in range(ranks)]
    every = _drawn(rank, "exchange", dtype, ranks * room, WIDTH)
    for tensor, own in zip(every, counts, strict=True):
        tensor.array[~_counted(own, room, kinds)] = reals(np.array([np.nan]), dtype).array[0]
    found = running.run(
        "run", Step(queries=(1,)), x=every[rank.number], counts=host(counts[rank.number])
    )
    exact, received = oracle.all_to_all(_wide(every), counts)
    rank.same("the counts that came", found["received"], host(_own(rank, received)))
    is_real = _counted(ints(received[rank.number]), room, kinds)
    rows = HostTensor(found["out"].array[is_real], dtype)
    rank.close("all_to_all", rows, _own(rank, exact)[is_real], dtype)


def carries_to_one(rank: Rank, dtype: DType) -> None:
    """What rank 0 sends in three launches, rank 1 receives in three, in order."""
    group = _group(rank)

    def write(g: GraphBuilder) -> Mapping[str, Value]:
        if rank.number == 0:
            g.op("send", _x(g, dtype), to=1, **group)
            return {}
        like = declare(g, TOKEN_IDS)
        attrs = {"source": 0, "width": WIDTH, "dtype": dtype}
        return {"out": g.one("recv", like, **attrs, **group)}

    running = rank.start(dtype, write)
    for queries in (3, 1, 7):
        sent = _drawn(rank, "carry", dtype, queries, WIDTH)[0]
        step = Step(queries=(queries,))
        if rank.number == 0:
            running.run("run", step, x=sent)
        else:
            rank.close("recv", running.run("run", step)["out"], oracle.recv(widen(sent)), dtype)


def looks_up_its_own_rows(rank: Rank, dtype: DType) -> None:
    """embedding_part gives zeros for the rows of other ranks, whatever the own ones hold."""
    size = 5
    tables = _drawn(rank, "table", dtype, size, WIDTH)
    tables[rank.number].array[0] = reals(np.array([np.inf]), dtype).array[0]

    def write(g: GraphBuilder) -> Mapping[str, Value]:
        table = g.weight("table", (size, WIDTH))
        return {"out": g.one("embedding_part", table, declare(g, TOKEN_IDS), **_group(rank))}

    running = rank.start(dtype, write, {"table": tables[rank.number]})
    wanted = [row for row in range(size * rank.settings.ranks) if row % size]
    step = Step(queries=(len(wanted),), token_ids=wanted)
    exact = oracle.embedding_part(_wide(tables), [ints(wanted)] * rank.settings.ranks)
    rank.close("embedding_part", running.run("run", step)["out"], _own(rank, exact), dtype)


def keeps_its_own_experts(rank: Rank, dtype: DType) -> None:
    """expert_part leaves the pairs of other ranks and of padding to nobody."""
    ranks, num_experts, room, top_k = rank.settings.ranks, 3, 6, 2
    shape = (ranks * room, top_k)

    def write(g: GraphBuilder) -> Mapping[str, Value]:
        ids, weights = g.input("ids", shape, "int32"), g.input("weights", shape, dtype)
        tokens = g.input("rank_tokens", (ranks,), "int32")
        made = g.op("expert_part", ids, weights, tokens, num_experts=num_experts, **_group(rank))
        return dict(zip(("own_ids", "own_weights"), made, strict=True))

    running = rank.start(dtype, write)
    every = np.tile(np.arange(ranks * num_experts), (ranks * room, 1))
    ids = ints(random("experts of ranks").permuted(every, axis=1)[:, :top_k])
    weights = reals(np.abs(normal("weights of ranks", *shape)) + 0.1, dtype)
    for busy in (room, 0):
        tokens = ints([busy, *[room - 2] * (ranks - 1)])
        found = running.run(
            "run", Step(queries=(1,)), ids=host(ids), weights=weights, rank_tokens=host(tokens)
        )
        own, shares = oracle.expert_part(ids, floats(weights), tokens, num_experts=num_experts)[
            rank.number
        ]
        rank.same("the own experts", found["own_ids"], host(own))
        rank.same("their weights", found["own_weights"], reals(shares, dtype))


def talks_by_itself(rank: Rank, dtype: DType) -> None:
    """The communicator does all this on tensors of the device, and changes no argument."""
    group, memory = rank.group, rank.memory
    ranks, last = rank.settings.ranks, rank.settings.ranks - 1
    every = _drawn(rank, "talk", dtype, ranks * 3, WIDTH)
    own = memory.to_device(every[rank.number])
    group.barrier()
    found = {
        "all_gather": (group.all_gather(own, 1), oracle.all_gather(_wide(every), axis=1)),
        "all_reduce": (group.all_reduce(own), oracle.all_reduce(_wide(every))),
        "reduce_scatter": (
            group.reduce_scatter(own, 0),
            oracle.reduce_scatter(_wide(every), axis=0),
        ),
        "broadcast": (group.broadcast(own, last), [_wide(every)[last]] * ranks),
    }
    group.send(own, (rank.number + 1) % ranks)
    before = (rank.number - 1) % ranks
    received = group.recv(every[before].shape, dtype, before)
    rank.same("what was received", memory.to_host(received), every[before])
    for name, (made, exact) in found.items():
        rank.close(name, memory.to_host(made), _own(rank, exact), dtype)
    rank.same("the argument", memory.to_host(own), every[rank.number])


CHECKS: Mapping[Check, Sequence[DType]] = MappingProxyType(
    {
        sums: FLOATS,
        joins: FLOATS,
        deals_sums: FLOATS,
        exchanges_shares: FLOATS,
        carries_to_one: FLOATS,
        looks_up_its_own_rows: FLOATS,
        keeps_its_own_experts: FLOATS,
        talks_by_itself: FLOATS,
    }
)


def _given(module: str, plugin: str, *, name: str, mode: str | None) -> Subject:
    found: object = getattr(importlib.import_module(module), plugin)
    return given(found, name=name, origin=f"{module}:{plugin}", mode=mode)


def _wrong(check: Check, rank: Rank, dtype: DType) -> str | None:
    if dtype not in rank.platform.info.dtypes:
        return f"{dtype} is not among its dtypes"
    try:
        check(rank, dtype)
        for claim in rank.claims:
            claim()
    except Failed as failure:
        return f"rank {rank.number}: {failure}"
    except Exception as error:
        rank.group.close()
        return f"{STUMBLED} {rank.number} with {type(error).__name__}: {error}"
    return None


def _ended(wrong: str | None, check: Check) -> str | None:
    """Say why nothing can follow a check; None where the ranks still do the same."""
    is_over = wrong is not None and wrong.startswith(STUMBLED)
    return f"not reached: {check.__name__} {wrong}" if is_over else None


def _group(rank: Rank) -> dict[str, str | int]:
    return {"group": GROUP, "ranks": rank.settings.ranks}


def _x(g: GraphBuilder, dtype: DType) -> Value:
    return g.input("x", (T, WIDTH), dtype)


def _drawn(rank: Rank, name: str, dtype: DType, *shape: int) -> list[HostTensor]:
    """Draw what each rank brings; all ranks draw all."""
    return [
        reals(normal(f"{name} {shape} {each}", *shape), dtype)
        for each in range(rank.settings.ranks)
    ]


def _wide(every: Sequence[HostTensor]) -> list[Array]:
    return [widen(each) for each in every]


def _own(rank: Rank, every: Sequence[Array]) -> Array:
    return every[rank.number]


def _counted(counts: Ints, room: int, kinds: int) -> npt.NDArray[np.bool_]:
    """Tell which rows of shares count. Shapes: counts [N*C]; returns [N*room]."""
    totals = counts.reshape(-1, kinds).sum(1)
    found: npt.NDArray[np.bool_] = (np.arange(room)[None] < totals[:, None]).reshape(-1)
    return found
