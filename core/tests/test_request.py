"""A request's legal moves, and what it refuses to be made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from octavo.errors import ClientError, InternalError
from octavo.request import Phase, Request
from octavo.sampling import SamplingParams


def request(*, prompt: object = (1, 2, 3), **params: object) -> Request:
    sampling = SamplingParams(**params)  # type: ignore[arg-type]
    return Request("r", prompt, sampling, eos_ids=[9])  # type: ignore[arg-type]


def arrive(one: Request) -> None:
    one.arrive(4, engine_seed=1)


def start(one: Request) -> None:
    one.start(2)


def preempt(one: Request) -> None:
    one.preempt(np.array([1, 2, 3, 8], np.int32))


def finish(one: Request) -> None:
    one.finish("stop")


ILLEGAL: list[list[Callable[[Request], None]]] = [
    [start], [preempt], [finish], [arrive, arrive], [arrive, preempt], [arrive, start, start],
    [arrive, start, arrive], [arrive, finish, start], [arrive, start, finish, finish],
    [arrive, start, preempt, preempt], [arrive, start, finish, arrive],
]  # fmt: skip


@pytest.mark.parametrize("moves", ILLEGAL, ids=lambda moves: "-".join(m.__name__ for m in moves))
def test_an_illegal_last_move_is_refused(moves: list[Callable[[Request], None]]) -> None:
    one = request()
    for move in moves[:-1]:
        move(one)
    with pytest.raises(InternalError):
        moves[-1](one)


def test_a_preempted_request_waits_with_its_output_known() -> None:
    one = request()
    for move in (arrive, start, preempt):
        move(one)
    assert (one.phase, one.seat, one.output_ids) == (Phase.WAITING, None, [8])


def test_a_finished_request_says_why_and_what_it_made() -> None:
    one = request()
    for move in (arrive, start):
        move(one)
    one.finish("length", np.array([1, 2, 3, 5, 6], np.int32))
    assert (one.phase, one.finish_reason, one.output_ids) == (Phase.FINISHED, "length", [5, 6])


@pytest.mark.parametrize(
    "prompt",
    [[], [1.5], [[1], [2]], [[1], [2, 3]], [-1], [2**31], [2**70], ["a"], [True, False], [1, None]],
)
def test_a_prompt_that_is_no_list_of_token_ids_is_refused(prompt: object) -> None:
    with pytest.raises(ClientError) as caught:
        request(prompt=prompt)
    assert caught.value.param == "prompt"


def test_ignore_eos_leaves_only_the_stop_tokens_that_the_client_named() -> None:
    assert request(stop_token_ids=[4]).stop_ids == {4, 9}
    assert request(stop_token_ids=[4], ignore_eos=True).stop_ids == {4}


def test_a_seed_that_was_given_is_kept_and_a_missing_one_is_derived() -> None:
    given, missing = request(seed=-5), request()
    arrive(given)
    arrive(missing)
    assert given.seed == -5
    assert missing.seed is not None


def test_the_prompt_is_a_copy_that_its_sender_cannot_change() -> None:
    tokens = np.array([1, 2, 3], np.int32)
    one = request(prompt=tokens)
    tokens[0] = 7
    assert one.prompt_ids.tolist() == [1, 2, 3]
