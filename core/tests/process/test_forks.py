"""Requests that share a prompt wait for the first of them, and never longer than it lives."""

from __future__ import annotations

from octavo.asking import SamplingParams, make_request
from octavo.heart import heart
from octavo.outputs import OutputText
from octavo.process.client import EngineClient
from octavo.process.thread import ThreadHost
from octavo.testing.loaded import NullLoaded, null_limits
from octavo.testing.served import within
from octavo.testing.sick import SICK, SICK_AT, Sick

NUM_FORKS = 3


def test_who_shares_the_prompt_of_one_that_got_no_token_is_not_kept_waiting() -> None:
    limits = null_limits()
    model = NullLoaded(engine=heart(Sick(limits), limits).engine())
    client = EngineClient(ThreadHost(model))
    client.start()
    client.wait_ready()
    params = SamplingParams(temperature=0, max_tokens=9)
    outputs = [
        OutputText(model, make_request(model, f"{number}", [SICK] * SICK_AT, params), params)
        for number in range(NUM_FORKS)
    ]

    async def ask() -> None:
        stream = client.submit(outputs)
        while stream.is_open:
            await stream.take()

    within(ask())
    client.close()
    assert [output.finish_reason for output in outputs] == ["error"] * NUM_FORKS
