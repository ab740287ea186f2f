"""The laws: what shares an engine with a request, and how it is cut up, changes no token.

All on the model without weights, so equality is exact and the right tokens are computed by
hand.
"""

from __future__ import annotations

import numpy as np
import pytest

from octavo.engine import Engine, Stats
from octavo.errors import ClientError, InternalError
from octavo.heart import heart
from octavo.request import Phase, Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.null import NullPending, NullProgram, by_hand, null_engine
from octavo.testing.traffic import nine
from octavo_platforms.inputs import StepInputs

VOCAB_SIZE = 211


def limits(*, blocks: int = 60, block_size: int = 4, requests: int = 6, step_tokens: int = 32,
           prefix_caching: bool = True) -> Limits:  # fmt: skip
    return Limits(
        max_context_tokens=64,
        num_blocks=blocks,
        block_size=block_size,
        max_requests=requests,
        max_step_tokens=step_tokens,
        vocab_size=VOCAB_SIZE,
        prefix_caching=prefix_caching,
    )


def run(engine: Engine, asked: list[Request]) -> list[list[int]]:
    for request in asked:
        engine.add(request)
    while engine.has_work:
        engine.step()
    return [request.output_ids for request in asked]


def right() -> list[list[int]]:
    return [
        by_hand(
            one.prompt_ids.tolist(),
            num_tokens=20,
            vocab_size=VOCAB_SIZE,
            temperature=one.params.temperature,
            seed=number,
        )
        for number, one in enumerate(nine())
    ]


def test_batch_mates_change_no_token() -> None:
    alone = [run(null_engine(limits()), [one])[0] for one in nine()]
    assert run(null_engine(limits()), nine()) == alone == right()


@pytest.mark.parametrize("step_tokens", [6, 7, 13, 200])
def test_the_size_of_a_step_changes_no_token(step_tokens: int) -> None:
    assert run(null_engine(limits(step_tokens=step_tokens)), nine()) == right()


@pytest.mark.parametrize("block_size", [1, 3, 16, 64])
def test_the_size_of_a_block_changes_no_token(block_size: int) -> None:
    engine = null_engine(limits(block_size=block_size, blocks=240 // block_size + 2))
    assert run(engine, nine()) == right()


def test_prefix_hits_change_no_token() -> None:
    engine = null_engine(limits())
    first = run(engine, nine())
    hits_before = engine.stats.prefix_hit_tokens
    assert run(engine, nine()) == first == right()
    assert engine.stats.prefix_hit_tokens > hits_before + 50
    without = null_engine(limits(prefix_caching=False))
    assert run(without, nine()) == first
    assert without.stats.prefix_hit_tokens == 0


def test_preemption_changes_no_token() -> None:
    engine = null_engine(limits(blocks=17))
    assert run(engine, nine()) == right()
    assert engine.stats.preemptions > 0


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("entries", [["step"], ["forward", "sample"]])
def test_depth_and_the_number_of_launches_change_no_token(depth: int, entries: list[str]) -> None:
    engine = null_engine(limits(blocks=17), entries=entries, max_in_flight=depth)
    assert run(engine, nine()) == right()


def test_a_missing_seed_is_derived_from_the_engine_and_the_turn() -> None:
    def tokens(engine_seed: int) -> list[list[int]]:
        asked = [Request(name, [1, 2], SamplingParams(max_tokens=20)) for name in "ab"]
        return run(null_engine(limits(), seed=engine_seed), asked)

    one, again, other = tokens(1), tokens(1), tokens(2)
    assert one == again
    assert one[0] != one[1]
    assert one != other


def test_deltas_give_every_token_in_order_and_the_end_once() -> None:
    engine, asked = null_engine(limits(blocks=17)), nine()
    for request in asked:
        engine.add(request)
    made: dict[str, list[int]] = {request.request_id: [] for request in asked}
    finished: dict[str, str] = {}
    while engine.has_work:
        delta = engine.step()
        for name, token in zip(delta.request_ids, delta.tokens.tolist(), strict=True):
            assert name not in finished
            made[name].append(token)
        assert not finished.keys() & delta.finished.keys()
        finished.update(delta.finished.items())
    assert list(made.values()) == [request.output_ids for request in asked] == right()
    assert finished == {request.request_id: "length" for request in asked}


def test_a_stop_token_is_the_last_of_the_output() -> None:
    free = by_hand([5, 9], num_tokens=12, vocab_size=VOCAB_SIZE)
    stop = free[6]
    asked = [
        Request("eos", [5, 9], SamplingParams(temperature=0), eos_ids=[stop]),
        Request("own", [5, 9], SamplingParams(temperature=0, stop_token_ids=[stop])),
        Request("on", [5, 9], SamplingParams(temperature=0, max_tokens=12, ignore_eos=True),
                eos_ids=[stop]),
    ]  # fmt: skip
    run(null_engine(limits()), asked)
    ended = free[: free.index(stop) + 1]
    assert [one.output_ids for one in asked] == [ended, ended, free]
    assert [one.finish_reason for one in asked] == ["stop", "stop", "length"]


def test_without_max_tokens_the_output_fills_the_context() -> None:
    one = Request("a", [1, 2, 3], SamplingParams(temperature=0))
    run(null_engine(limits()), [one])
    assert len(one.output_ids) == 64 - 3
    assert one.finish_reason == "length"


def test_an_aborted_request_frees_what_it_held_and_is_in_no_later_delta() -> None:
    engine, asked = null_engine(limits(requests=2)), nine()[:3]
    for request in asked:
        engine.add(request)
    engine.step()
    assert engine.abort("r0") is asked[0]
    assert engine.abort("r2") is asked[2]
    assert engine.abort("r0") is None
    assert engine.abort("nobody") is None
    while engine.has_work:
        delta = engine.step()
        assert set(delta.request_ids) | set(delta.finished) <= {"r1"}
    assert [one.finish_reason for one in asked] == ["abort", "length", "abort"]
    assert asked[0].output_ids == right()[0][:1]
    stats = engine.stats
    assert (stats.running, stats.waiting, stats.held_blocks) == (0, 0, 0)
    assert stats.free_blocks + stats.remembered_blocks == 59


def test_an_engine_without_work_does_nothing() -> None:
    engine = null_engine(limits())
    delta = engine.step()
    assert (list(delta.request_ids), len(delta.tokens), dict(delta.finished)) == ([], 0, {})
    assert engine.stats == Stats(0, 0, 59, 0, 0, 0, 0)


def test_a_refused_request_leaves_nothing_behind() -> None:
    engine = null_engine(limits())
    with pytest.raises(ClientError):
        engine.add(Request("a", [1] * 64, SamplingParams()))
    assert not engine.has_work
    engine.add(Request("a", [1], SamplingParams(max_tokens=1)))
    engine.step()
    assert not engine.has_work


class Breaks(NullProgram):
    """The model without weights, until its third launch."""

    num_launches = 0

    def launch(self, inputs: StepInputs) -> NullPending:
        self.num_launches += 1
        if self.num_launches == 3:
            raise OSError("the device is gone")
        return super().launch(inputs)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_device_that_breaks_ends_every_request_with_an_error_and_holds_nothing(
    depth: int,
) -> None:
    program = Breaks(limits())
    engine = heart(program, limits(requests=2, step_tokens=2)).engine(max_in_flight=depth)
    asked = nine()[:4]
    for request in asked:
        engine.add(request)
    for _ in range(3 - depth):
        engine.step()
    with pytest.raises(OSError, match="the device is gone"):
        engine.step()
    assert {one.finish_reason for one in asked} == {"error"}
    assert {one.phase for one in asked} == {Phase.FINISHED}
    num_made = len(asked[0].output_ids)
    assert asked[0].output_ids == right()[0][:num_made]
    assert not engine.has_work
    engine.check_integrity()


def test_an_idle_engine_that_holds_a_block_or_a_seat_says_so() -> None:
    parts = heart(NullProgram(limits()), limits())
    engine, scheduler = parts.engine(), parts.scheduler
    engine.check_integrity()
    blocks = scheduler.holdings.main.pool.take(1)
    assert blocks is not None
    with pytest.raises(InternalError, match="1 blocks and 0 seats"):
        engine.check_integrity()
    scheduler.holdings.main.pool.release(blocks)
    scheduler.seats.take(
        np.array([1], np.int32), computed=0, end=2, stop_ids=(), words=(0, 0, 0)
    )  # fmt: skip
    engine.add(Request("a", [1, 2], SamplingParams(max_tokens=1)))
    with pytest.raises(InternalError, match="0 blocks and 1 seats"):
        engine.step()
