"""The board and its watch: what others see of an engine, and for how long nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from octavo.process.board import Board, Seen, Watch


def seen(*, beats: int = 0, steps: int = 0, is_ready: bool = True, is_busy: bool = True) -> Seen:
    return Seen(beats, steps, is_ready, is_busy, running=1, waiting=0, waiting_tokens=0)


def watch(looks: list[tuple[float, Seen]]) -> Watch:
    made = Watch(longest_gap_s=1.0)
    for now_s, each in looks:
        made.look(each, now_s)
    return made


def test_what_one_process_writes_another_reads(tmp_path: Path) -> None:
    written, read = Board(tmp_path / "board"), Board(tmp_path / "board")
    written.beat()
    written.write(
        is_ready=True, is_busy=True, running=3, waiting=2, waiting_tokens=70, ended_per_s=0.25
    )
    assert read.read() == Seen(1, 1, True, True, 3, 2, 70, 0.25)
    read.clear()
    assert written.read() == Seen(0, 0, False, False, 0, 0, 0)


def test_silence_grows_until_a_beat() -> None:
    looks = [(0.5 * turn, seen(beats=7, steps=turn)) for turn in range(5)]
    assert watch(looks).silent_s == pytest.approx(2.0)
    assert watch([*looks, (2.5, seen(beats=8, steps=9))]).silent_s == 0.0


def test_an_engine_that_beats_but_does_not_step_is_stuck_where_it_has_work() -> None:
    looks = [(0.5 * turn, seen(beats=turn, steps=4)) for turn in range(5)]
    assert watch(looks).stuck_s == pytest.approx(2.0)
    assert watch([*looks, (2.5, seen(beats=9, steps=5))]).stuck_s == 0.0
    assert watch([*looks, (2.5, seen(beats=9, steps=4, is_busy=False))]).stuck_s == 0.0
    idle = [(0.5 * turn, seen(beats=turn, steps=4, is_busy=False)) for turn in range(5)]
    assert watch(idle).stuck_s == 0.0


def test_loading_is_neither_silent_nor_stuck() -> None:
    looks = [(0.5 * turn, seen(is_ready=False)) for turn in range(50)]
    assert (watch(looks).silent_s, watch(looks).stuck_s) == (0.0, 0.0)


def test_time_in_which_nobody_looked_counts_for_little() -> None:
    asleep = watch([(0.0, seen()), (3600.0, seen())])
    assert (asleep.silent_s, asleep.stuck_s) == (1.0, 1.0)
