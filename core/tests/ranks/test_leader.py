"""A leader and its worker processes: tokens as by hand, and what happens when a worker fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from octavo.engine import Engine
from octavo.errors import DeviceError, UnsupportedParameter
from octavo.ranks.leader import Crew, Leader
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.scheduler import Limits
from octavo.testing.crews import NULL_BUILD, NullShare
from octavo.testing.drive import generate
from octavo.testing.null import by_hand
from octavo_platforms.rules import StepRules

LIMITS = Limits(
    max_context_tokens=40,
    num_blocks=24,
    block_size=4,
    max_requests=4,
    max_step_tokens=9,
    vocab_size=89,
)
PROMPTS = ([3, 1, 4, 1, 5], [2, 7], [1] * 13, [60, 61, 62], [5, 5], [8] * 7)
PLENTY_S = 60.0


def crew(*shares: NullShare, max_in_flight: int = 1, patience_s: float = PLENTY_S) -> Crew:
    return Crew(
        build=NULL_BUILD,
        arguments=[share.arguments for share in shares],
        max_in_flight=max_in_flight,
        patience_s=patience_s,
    )


WELL = NullShare(limits=LIMITS)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def none_left(pids: Sequence[int]) -> bool:
    deadline = time.monotonic() + PLENTY_S
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def run_dry(engine: Engine) -> None:
    while engine.has_work:
        engine.step()


@pytest.mark.parametrize("depth", [1, 2])
def test_tokens_are_those_computed_by_hand_and_every_rank_gets_steps_by_its_rules(
    depth: int,
) -> None:
    strict = replace(WELL, rules=StepRules(mixes=False, part_multiple=4))
    with Leader(LIMITS, crew(WELL, strict, max_in_flight=depth)) as leader:
        engine = leader.engine()
        params = SamplingParams(temperature=0.7, seed=11, max_tokens=12)
        found = generate(engine, PROMPTS, params)
        pids = leader.worker_pids
    for prompt, tokens in zip(PROMPTS, found, strict=True):
        assert tokens == by_hand(prompt, num_tokens=12, vocab_size=89, temperature=0.7, seed=11)
    assert len(pids) == 2
    assert none_left(pids)


@pytest.mark.parametrize(
    ("mishap", "words"),
    [
        ("raises", "rank 1 failed: MishapError: launch 3 was told to fail"),
        ("dies", "the process of rank 1 was killed by SIGKILL"),
    ],
)
def test_a_worker_that_is_lost_ends_the_step_with_an_error_that_names_it(
    mishap: str, words: str
) -> None:
    clumsy = replace(WELL, mishap=mishap, at=3)  # type: ignore[arg-type]
    with Leader(LIMITS, crew(WELL, clumsy)) as leader:
        engine = leader.engine()
        request = Request("a", [1, 2, 3], SamplingParams(max_tokens=30))
        engine.add(request)
        with pytest.raises(DeviceError, match=words):
            run_dry(engine)
        assert request.finish_reason == "error"
        assert none_left(leader.worker_pids)
        engine.add(Request("b", [1], SamplingParams()))
        with pytest.raises(DeviceError, match=words):
            engine.step()


def test_a_worker_that_cannot_start_is_an_error_of_the_start() -> None:
    refuses = replace(WELL, mishap="refuses")
    with pytest.raises(DeviceError, match="MishapError: rank 1 was told not to start"):
        Leader(LIMITS, crew(WELL, refuses))


def test_a_builder_that_does_not_exist_is_named() -> None:
    nobody = replace(crew(WELL), build="octavo.testing.crews:nobody")
    with pytest.raises(DeviceError, match=r"no function 'octavo\.testing\.crews:nobody'"):
        Leader(LIMITS, nobody)


def test_ranks_that_are_silent_for_too_long_are_ended() -> None:
    hangs = replace(WELL, mishap="hangs", at=2)
    with Leader(LIMITS, crew(hangs, WELL, patience_s=0.5)) as leader:
        engine = leader.engine()
        engine.add(Request("a", [1, 2, 3], SamplingParams(max_tokens=30)))
        with pytest.raises(DeviceError, match=r"no rank said anything for 0\.5 s"):
            run_dry(engine)
        assert none_left(leader.worker_pids)


def test_code_of_a_client_is_refused_because_it_does_not_travel() -> None:
    params = SamplingParams(logits_processors=[lambda prompt, output, logits: logits])
    with Leader(LIMITS, crew(WELL)) as leader:
        engine = leader.engine()
        with pytest.raises(UnsupportedParameter, match="logits_processors"):
            engine.add(Request("a", [1, 2, 3], params))
        assert not engine.has_work


LEADS_UNTIL_KILLED = """
import sys, time
from octavo.ranks.leader import Crew, Leader
from octavo.testing.crews import NULL_BUILD, NullShare
import msgspec

share = msgspec.json.decode(sys.argv[1], type=NullShare)
leader = Leader(share.limits, Crew(build=NULL_BUILD, arguments=[sys.argv[1]] * 2))
print(*leader.worker_pids, flush=True)
time.sleep(3600)
"""


def test_workers_end_when_their_leader_is_killed() -> None:
    leading = subprocess.Popen(
        [sys.executable, "-c", LEADS_UNTIL_KILLED, WELL.arguments], stdout=subprocess.PIPE
    )
    assert leading.stdout is not None
    with leading, leading.stdout as said:
        pids = [int(word) for word in said.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        leading.send_signal(signal.SIGKILL)
    assert none_left(pids)
