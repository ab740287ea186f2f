"""Pause, resume, drain and reset: what stops, what goes on, and that no token changes by it."""

from __future__ import annotations

import random

import pytest

from octavo.engine import Engine
from octavo.errors import LaterError
from octavo.request import Phase, Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits, PauseMode
from octavo.testing.null import null_engine, output_by_hand

VOCAB_SIZE = 97
MODES: tuple[PauseMode, ...] = ("abort", "wait", "keep")
depths = pytest.mark.parametrize("depth", [1, 2])


def engine_of(*, depth: int = 1, blocks: int = 40, requests: int = 3) -> Engine:
    limits = Limits(
        max_context_tokens=40,
        num_blocks=blocks,
        block_size=4,
        max_requests=requests,
        max_step_tokens=16,
        vocab_size=VOCAB_SIZE,
    )
    return null_engine(limits, max_in_flight=depth)


def requests(count: int = 5, *, num_tokens: int = 12) -> list[Request]:
    return [
        Request(
            f"r{number}",
            [7, 7, 7, 7, 7, 7, number, 3],
            SamplingParams(temperature=0.5 * (number % 2), seed=number, max_tokens=num_tokens),
        )
        for number in range(count)
    ]


def right(one: Request) -> list[int]:
    return output_by_hand(one, len(one.output_ids), vocab_size=VOCAB_SIZE)


def begun(engine: Engine, asked: list[Request], *, steps: int = 3) -> None:
    for one in asked:
        engine.add(one)
    for _ in range(steps):
        engine.step()


def rest(engine: Engine) -> None:
    """Make steps until a paused engine is at rest."""
    for _ in range(100):
        if engine.is_at_rest:
            return
        engine.step()
    raise AssertionError("the engine finds no rest")


def drain(engine: Engine) -> None:
    for _ in range(500):
        if not engine.has_work:
            return
        engine.step()
    raise AssertionError("the engine does not come to an end")


@depths
@pytest.mark.parametrize("mode", MODES)
def test_a_pause_and_a_resume_change_no_token(mode: PauseMode, depth: int) -> None:
    engine, asked = engine_of(depth=depth), requests()
    begun(engine, asked)
    engine.pause(mode)
    rest(engine)
    engine.resume()
    drain(engine)
    assert [one.output_ids for one in asked] == [right(one) for one in asked]
    whole = [one for one in asked if len(one.output_ids) == 12]
    assert len(whole) == (0 if mode == "abort" else 5)
    engine.check_integrity()


@depths
def test_a_pause_by_abort_ends_everybody_and_gives_them(depth: int) -> None:
    engine, asked = engine_of(depth=depth), requests()
    begun(engine, asked)
    ended = engine.pause("abort")
    assert sorted(one.request_id for one in ended) == [one.request_id for one in asked]
    assert {one.finish_reason for one in asked} == {"abort"}
    assert engine.stats.held_blocks == 0
    assert engine.pause("abort") == []
    rest(engine)
    assert not engine.has_work


@depths
@pytest.mark.parametrize("blocks", [40, 14])
def test_a_pause_that_waits_lets_those_come_to_their_end_who_have_begun(
    depth: int, blocks: int
) -> None:
    engine, asked = engine_of(depth=depth, blocks=blocks), requests(num_tokens=20)
    begun(engine, asked, steps=8)
    has_begun = [one for one in asked if one.has_begun]
    assert 0 < len(has_begun) < 5
    assert engine.pause("wait") == ()
    rest(engine)
    assert [one.phase is Phase.FINISHED for one in asked] == [one in has_begun for one in asked]
    assert {one.phase for one in asked if one not in has_begun} == {Phase.WAITING}
    engine.resume()
    drain(engine)
    assert [len(one.output_ids) for one in asked] == [20] * 5


@depths
def test_a_pause_that_keeps_leaves_seats_and_blocks_where_they_are(depth: int) -> None:
    engine, asked = engine_of(depth=depth), requests()
    begun(engine, asked)
    engine.pause("keep")
    rest(engine)
    before = engine.stats
    for _ in range(3):
        assert len(engine.step().request_ids) == 0
    assert engine.stats == before
    assert before.running > 0
    assert engine.has_work


@pytest.mark.parametrize("mode", MODES)
def test_who_comes_in_a_pause_waits_for_its_end(mode: PauseMode) -> None:
    engine = engine_of()
    engine.pause(mode)
    (one,) = requests(1)
    engine.add(one)
    for _ in range(3):
        engine.step()
    assert (one.phase, engine.is_at_rest, engine.is_paused) == (Phase.WAITING, True, True)
    engine.resume()
    drain(engine)
    assert one.output_ids == right(one)


@pytest.mark.parametrize("mode", MODES)
def test_pauses_and_resumes_may_be_repeated(mode: PauseMode) -> None:
    engine, asked = engine_of(), requests(2)
    engine.resume()
    begun(engine, asked)
    for _ in range(2):
        engine.pause(mode)
    for _ in range(2):
        engine.resume()
    assert not engine.is_paused
    drain(engine)
    assert [one.output_ids for one in asked] == [right(one) for one in asked]


def test_a_pause_may_become_another() -> None:
    engine, asked = engine_of(), requests(3)
    begun(engine, asked)
    engine.pause("wait")
    engine.pause("keep")
    engine.step()
    assert engine.is_at_rest
    assert engine.stats.running == 3
    assert len(engine.pause("abort")) == 3
    assert not engine.has_work


@depths
def test_a_drain_refuses_who_comes_and_ends_who_is_here(depth: int) -> None:
    engine, asked = engine_of(depth=depth), requests()
    begun(engine, asked)
    for _ in range(2):
        engine.drain()
    (late,) = requests(1)
    with pytest.raises(LaterError, match="takes no new requests"):
        engine.add(late)
    drain(engine)
    assert [len(one.output_ids) for one in asked] == [12] * 5
    engine.resume()
    engine.add(late)
    drain(engine)
    assert late.output_ids == right(late)


def test_after_a_reset_nothing_is_found_that_was_computed_before() -> None:
    engine = engine_of()
    for again, is_found in ((False, False), (False, True), (True, False), (False, True)):
        if again:
            for _ in range(2):
                engine.reset_prefixes()
        (one,) = requests(1)
        begun(engine, [one])
        drain(engine)
        assert (one.num_cached_tokens > 0) == is_found
        assert one.output_ids == right(one)


@depths
@pytest.mark.parametrize("also_running", [False, True])
def test_a_reset_amid_running_requests_changes_no_token_and_hides_what_they_had_computed(
    depth: int, also_running: bool
) -> None:
    engine, asked = engine_of(depth=depth), requests(3, num_tokens=24)
    begun(engine, asked, steps=6)
    before = [one.num_cached_tokens for one in asked]
    engine.reset_prefixes(also_running=also_running)
    assert engine.stats.preemptions == (3 if also_running else 0)
    assert engine.stats.remembered_blocks == 0
    drain(engine)
    assert [one.output_ids for one in asked] == [right(one) for one in asked]
    assert [one.num_cached_tokens for one in asked] == before
    twin = Request("twin", [*asked[0].prompt_ids.tolist(), *asked[0].output_ids[:20]],
                   SamplingParams(temperature=0.0, max_tokens=1))  # fmt: skip
    engine.add(twin)
    drain(engine)
    assert (twin.num_cached_tokens > 0) == also_running
    assert twin.output_ids == right(twin)


@depths
def test_what_is_computed_behind_a_reset_from_before_it_is_not_found_behind_new_prefixes(
    depth: int,
) -> None:
    """Two blocks of the prompt are computed anew; what follows them stems from the old ones."""
    engine, (old,) = engine_of(depth=depth), requests(1, num_tokens=24)
    again = Request("again", old.prompt_ids, SamplingParams(temperature=0.0, max_tokens=1))
    begun(engine, [old], steps=2)
    engine.reset_prefixes()
    engine.add(again)
    drain(engine)
    twin = Request("twin", [*old.prompt_ids.tolist(), *old.output_ids[:20]],
                   SamplingParams(temperature=0.0, max_tokens=1))  # fmt: skip
    engine.add(twin)
    drain(engine)
    assert (again.num_cached_tokens, twin.num_cached_tokens) == (0, 8)


@depths
def test_who_waited_during_a_reset_finds_what_is_computed_after_it(depth: int) -> None:
    engine, asked = engine_of(depth=depth, requests=1), requests(3)
    begun(engine, asked)
    engine.reset_prefixes()
    drain(engine)
    assert [one.num_cached_tokens > 0 for one in asked] == [False, False, True]


@depths
def test_an_abort_at_any_time_frees_everything(depth: int) -> None:
    for moment in range(14):
        engine, asked = engine_of(depth=depth, blocks=14), requests(num_tokens=20)
        begun(engine, asked, steps=moment)
        if moment % 3 == 0:
            engine.pause("keep")
        random.Random(moment).shuffle(asked)
        for one in asked:
            was_over = one.phase is Phase.FINISHED
            assert (engine.abort(one.request_id) is None) == was_over
            assert engine.abort(one.request_id) is None
        assert engine.stats.held_blocks == engine.stats.running == engine.stats.waiting == 0
        drain(engine)
        assert [one.output_ids for one in asked] == [right(one) for one in asked]
