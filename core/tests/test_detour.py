"""The host's road: logits are read, the host chooses, and the device is told what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from octavo.errors import ClientError
from octavo.heart import heart
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.sampling.reference import Choice
from octavo.scheduler import Limits
from octavo.testing.laggard import Laggard
from octavo.testing.null import NullProgram, null_logits

VOCAB_SIZE = 53
LIMITS = Limits(
    max_context_tokens=64, num_blocks=40, block_size=4, max_requests=5, max_step_tokens=16,
    vocab_size=VOCAB_SIZE,
)  # fmt: skip
ENTRIES = ("forward", "sample")


def stay(
    prompt_ids: npt.NDArray[np.int32],
    output_ids: npt.NDArray[np.int32],
    logits: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Prefer what is near the last of the prompt."""
    near = np.abs(np.arange(len(logits)) - prompt_ids[-1]) < 5
    return np.where(near, logits + 3, logits).astype(np.float32)


ASKED: list[tuple[list[int], SamplingParams]] = [
    ([1, 2, 3], SamplingParams(temperature=0, max_tokens=12)),
    (list(range(20)), SamplingParams(seed=1, top_k=4, max_tokens=12)),
    ([7], SamplingParams(seed=2, top_p=0.7, frequency_penalty=1.0, max_tokens=12)),
    ([5, 5, 5], SamplingParams(seed=3, logits_processors=[stay], max_tokens=12)),
    ([9, 8], SamplingParams(seed=4, max_tokens=12)),
    ([30], SamplingParams(seed=5, bad_token_ids=[[30], [1, 2]], min_p=0.1, max_tokens=12)),
    ([4] * 9, SamplingParams(temperature=0, repetition_penalty=1.5, max_tokens=12)),
]


def by_hand(prompt: Sequence[int], params: SamplingParams) -> list[int]:
    choice = Choice(params=params, seed=params.seed or 0, prompt_ids=np.array(prompt, np.int32))
    output: list[int] = []
    while len(output) < (params.max_tokens or 0):
        logits = null_logits([*prompt, *output], VOCAB_SIZE)
        output.append(choice.token(logits, np.array(output, np.int32)))
    return output


@pytest.mark.parametrize("num_blocks", [40, 17])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_tokens_are_those_chosen_by_hand_however_late_the_device_is(
    depth: int, num_blocks: int
) -> None:
    program = Laggard(NullProgram(LIMITS, entries=ENTRIES))
    limits = Limits(
        max_context_tokens=64, num_blocks=num_blocks, block_size=4, max_requests=5,
        max_step_tokens=16, vocab_size=VOCAB_SIZE,
    )  # fmt: skip
    engine = heart(program, limits).engine(max_in_flight=depth)
    asked = [Request(f"{number}", *each) for number, each in enumerate(ASKED)]
    for request in asked:
        engine.add(request)
    while engine.has_work:
        engine.step()
    assert [request.output_ids for request in asked] == [by_hand(*each) for each in ASKED]
    read = [number for kind, number in program.events if kind == "read"]
    assert read == sorted(read)
    engine.check_integrity()


def test_what_a_program_cannot_do_on_any_road_is_refused_by_name() -> None:
    engine = heart(NullProgram(LIMITS), LIMITS).engine()
    engine.add(Request("plain", [1], SamplingParams(temperature=0, max_tokens=1)))
    for asked, param in (
        (SamplingParams(top_p=0.5), "top_p"),
        (SamplingParams(min_tokens=2), "min_tokens"),
        (SamplingParams(logprobs=1), "logprobs"),
        (SamplingParams(logits_processors=[stay]), "logits_processors"),
        (SamplingParams(prompt_logprobs=0), "prompt_logprobs"),
    ):
        with pytest.raises(ClientError, match="cannot be used") as refused:
            engine.add(Request("a", [1], asked))
        assert refused.value.param == param
    assert len(engine.step().tokens) == 1
    assert not engine.has_work


def test_an_id_that_the_model_lacks_is_refused_when_the_request_is_added() -> None:
    engine = heart(NullProgram(LIMITS, entries=ENTRIES), LIMITS).engine()
    with pytest.raises(ClientError, match="below the vocabulary's size, 53"):
        engine.add(Request("a", [1], SamplingParams(allowed_token_ids=[53])))
    assert not engine.has_work
