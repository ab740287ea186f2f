"""Gates: one of each kind that a feature brings, and what scheduler and engine make of it."""

from __future__ import annotations

import threading
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from octavo.engine import Engine
from octavo.heart import heart
from octavo.request import Phase, Request, RequestId
from octavo.sampling import SamplingParams
from octavo.scheduler import Bell, Gate, Limits
from octavo.testing.laggard import Laggard
from octavo.testing.null import NullProgram, output_by_hand

VOCAB_SIZE = 97


class GrammarGate:
    """Holds a request until its grammar is compiled, somewhere else."""

    def __init__(self) -> None:
        self.grammars: dict[RequestId, Future[str]] = {}

    def is_open(self, request: Request) -> bool:
        grammar = self.grammars.get(request.request_id)
        return grammar is None or grammar.done()


class AdapterGate:
    """Holds a request until its adapter is loaded; few can be at once."""

    def __init__(self, num_slots: int) -> None:
        self.loaded: list[str] = []
        self._num_slots = num_slots

    def is_open(self, request: Request) -> bool:
        adapter = request.cache_keys.adapter
        if adapter and adapter not in self.loaded and len(self.loaded) < self._num_slots:
            self.loaded.append(adapter)
        return not adapter or adapter in self.loaded


@dataclass
class EncoderGate:
    """Holds a request until what an encoder makes of its pictures is there."""

    ready: set[RequestId] = field(default_factory=set)
    wanted: Collection[str] = ()

    def is_open(self, request: Request) -> bool:
        return request.request_id not in self.wanted or request.request_id in self.ready


class RemoteGate:
    """Holds a request while a cache is on its way, for so many looks."""

    def __init__(self, looks: int) -> None:
        self.num_asked = 0
        self._looks = looks

    def is_open(self, request: Request) -> bool:
        if not request.request_id.startswith("far"):
            return True
        self.num_asked += 1
        return self.num_asked > self._looks


class CountingBell(Bell):
    """Counts how often somebody waited."""

    def __init__(self) -> None:
        super().__init__()
        self.num_waits = 0

    def wait(self, timeout_s: float | None) -> bool:
        self.num_waits += 1
        return super().wait(timeout_s)


def limits(*, blocks: int = 60, requests: int = 4) -> Limits:
    return Limits(
        max_context_tokens=40,
        num_blocks=blocks,
        block_size=4,
        max_requests=requests,
        max_step_tokens=32,
        vocab_size=VOCAB_SIZE,
    )


def request(name: str, *, adapter: str = "", num_tokens: int = 6) -> Request:
    params = SamplingParams(temperature=0.0, max_tokens=num_tokens)
    return Request(name, [len(name), 5, 6], params, adapter=adapter)


def engine_of(
    *gates: Gate, depth: int = 1, bell: Bell | None = None, allowed: Limits | None = None
) -> Engine:
    allowed = limits() if allowed is None else allowed
    parts = heart(Laggard(NullProgram(allowed)), allowed, gates=gates)
    return Engine(parts.scheduler, parts.runner, max_in_flight=depth, bell=bell)


def right(one: Request) -> list[int]:
    return output_by_hand(one, len(one.output_ids), vocab_size=VOCAB_SIZE)


def run(engine: Engine, *, count: int = 99) -> list[str]:
    """Go on until nothing is left or so many have ended; give who ended, in order."""
    ended: list[str] = []
    for _ in range(300):
        if len(ended) == count or not engine.has_work:
            return ended
        ended += engine.step().finished
    raise AssertionError(f"after {ended} nobody comes to an end")


@pytest.mark.parametrize("depth", [1, 2])
def test_a_grammar_that_is_not_ready_holds_its_request_and_those_behind_it_pass(
    depth: int,
) -> None:
    gate = GrammarGate()
    engine = engine_of(gate, depth=depth, allowed=limits(requests=1))
    asked = [request(name) for name in ("held", "b", "cc")]
    gate.grammars[asked[0].request_id] = Future()
    for one in asked:
        engine.add(one)
    assert run(engine, count=2) == ["b", "cc"]
    assert asked[0].phase is Phase.WAITING
    gate.grammars[asked[0].request_id].set_result("root ::= 'a'")
    assert run(engine) == ["held"]
    assert [one.output_ids for one in asked] == [right(one) for one in asked]


def test_who_was_held_has_its_old_turn_when_its_gate_opens() -> None:
    gate = GrammarGate()
    engine = engine_of(gate, allowed=limits(requests=1))
    asked = [request(name) for name in ("a", "held", "later", "last")]
    gate.grammars[asked[1].request_id] = Future()
    for one in asked:
        engine.add(one)
    engine.step()
    gate.grammars[asked[1].request_id].set_result("")
    assert run(engine) == ["a", "held", "later", "last"]


@pytest.mark.parametrize("depth", [1, 2])
def test_an_adapter_without_a_slot_holds_its_requests_until_one_is_unloaded(depth: int) -> None:
    gate = AdapterGate(num_slots=1)
    engine = engine_of(gate, depth=depth)
    for name, adapter in (("a", "poet"), ("b", "judge"), ("c", "poet"), ("d", "")):
        engine.add(request(name, adapter=adapter))
    assert sorted(run(engine, count=3)) == ["a", "c", "d"]
    gate.loaded.clear()
    assert run(engine) == ["b"]


def test_a_missing_picture_holds_its_own_request_alone() -> None:
    gate = EncoderGate(wanted=("seen", "unseen"))
    gate.ready.add(RequestId("seen"))
    engine = engine_of(gate)
    for name in ("unseen", "seen", "text"):
        engine.add(request(name))
    for _ in range(10):
        engine.step()
    assert engine.abort("unseen") is not None
    assert not engine.has_work
    assert engine.stats.held_blocks == 0


def test_while_a_cache_is_on_its_way_the_engine_waits_and_does_not_spin() -> None:
    bell = CountingBell()
    gate = RemoteGate(looks=5)
    engine = engine_of(gate, bell=bell)
    engine.add(request("far"))
    for _ in range(6):
        assert not engine.stats.running
        engine.step()
    assert bell.num_waits == 5, "one wait for each look that was in vain"
    assert gate.num_asked == 6
    assert run(engine) == ["far"]


def test_a_bell_wakes_an_engine_that_waits_for_a_gate() -> None:
    gate, bell = GrammarGate(), Bell()
    engine = engine_of(gate, bell=bell)
    one = request("held")
    grammar = gate.grammars[one.request_id] = Future()
    engine.add(one)

    def compiled() -> None:
        grammar.set_result("")
        bell.ring()

    other = threading.Timer(0.02, compiled)
    other.start()
    assert run(engine) == ["held"]
    other.join()
    bell.wait(0.0)
    assert not bell.wait(0.0), "a bell rings once"


@pytest.mark.parametrize("depth", [1, 2])
def test_who_lost_its_seat_is_asked_at_the_gates_again(depth: int) -> None:
    gate = EncoderGate()
    engine = engine_of(gate, depth=depth, allowed=limits(blocks=12))
    first, second = request("a", num_tokens=36), request("bb", num_tokens=36)
    engine.add(first)
    engine.add(second)
    while not engine.stats.preemptions:
        assert engine.step().request_ids
    gate.wanted = ("bb",)
    assert run(engine, count=1) == ["a"]
    for _ in range(3):
        engine.step()
    assert second.phase is Phase.WAITING
    gate.ready.add(second.request_id)
    assert run(engine) == ["bb"]
    assert second.output_ids == right(second)
    assert len(second.output_ids) == 36
