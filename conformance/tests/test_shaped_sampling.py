"""Every parameter of sampling through the engine, on the device and on the host, at each depth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

import octavo_cpu
from octavo.errors import ClientError
from octavo.request import Request
from octavo.sampling import SamplingParams
from octavo.testing import shaped
from octavo.testing.drive import Running
from octavo.testing.laggard import Laggard
from octavo.testing.shaped import PROMPTS, VOCAB
from octavo_conformance.oracle.platform import OraclePlatform
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.hooks import hookimpl
from octavo_platforms.inputs import Ints
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec

CLOSE = 2e-5


class ShapesNothing(OraclePlatform):
    """A device without any op that shapes logits or tells of them."""

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        is_missing = spec.op in ("truncate_logits", "bias_logits", "most_likely")
        return None if is_missing else super().bind_op(spec)


PLATFORMS = {
    "oracle": OraclePlatform(),
    "cpu": octavo_cpu.platform,
    "plain": ShapesNothing(),
}


@cache
def running(name: str, mode: str | None = None) -> Running:
    return shaped.run_on(Platform(PLATFORMS[name]), settings=DeviceSettings(mode))


def asked(*, without: str = "") -> dict[str, tuple[list[int], SamplingParams]]:
    found = shaped.everything()
    return {name: (list(each), params) for name, (each, params) in found.items() if name != without}


@cache
def alone(name: str) -> dict[str, list[int]]:
    made = {}
    for each, request in asked(without="told" if name == "plain" else "").items():
        engine = running(name).engine(vocab_size=VOCAB)
        made[each] = shaped.run(engine, {each: request})[each].tokens
    return made


@pytest.mark.parametrize("name", ["oracle", "cpu", "plain"])
def test_every_token_is_the_one_that_the_reference_chooses(name: str) -> None:
    for each, (prompt, params) in asked(without="told" if name == "plain" else "").items():
        tokens = alone(name)[each]
        assert shaped.wrong_tokens(running(name), prompt, params, tokens) == [], each
    assert alone(name) | alone("oracle") == alone("oracle")


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", ["oracle", "cpu", "plain"])
def test_mates_and_depth_change_no_token(name: str, depth: int) -> None:
    engine = running(name).engine(vocab_size=VOCAB, max_in_flight=depth)
    made = shaped.run(engine, asked(without="told" if name == "plain" else ""))
    assert {each: one.tokens for each, one in made.items()} == alone(name)
    assert engine.stats.held_blocks == 0


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", ["oracle", "plain"])
def test_a_device_that_runs_nothing_before_it_is_read_changes_no_token(
    name: str, depth: int
) -> None:
    late = replace(running(name), program=Laggard(running(name).program))
    engine = late.engine(vocab_size=VOCAB, max_in_flight=depth)
    made = shaped.run(engine, asked(without="told" if name == "plain" else ""))
    assert {each: one.tokens for each, one in made.items()} == alone(name)


@pytest.mark.parametrize("name", ["oracle", "plain"])
def test_preemption_changes_no_token_and_scores_every_prompt_whole(name: str) -> None:
    engine = replace(running(name), num_blocks=30).engine(vocab_size=VOCAB, max_in_flight=2)
    made = shaped.run(engine, asked(without="told" if name == "plain" else ""))
    assert engine.stats.preemptions > 0
    assert {each: one.tokens for each, one in made.items()} == alone(name)
    if name == "oracle":
        places = {
            part.first + at
            for part in made["told"].scored
            for at in range(len(part.logprobs.logprob))
        }
        assert places == set(range(1, len(asked()["told"][0])))


def test_padding_to_buckets_changes_no_token() -> None:
    engine = running("oracle", "padded").engine(vocab_size=VOCAB, max_in_flight=2)
    made = shaped.run(engine, asked())
    assert {each: one.tokens for each, one in made.items()} == alone("oracle")


def test_parameters_do_what_they_say() -> None:
    made = alone("oracle")
    assert set(made["allowed"]) <= set(range(10, 30))
    assert made["patient"][-1] % 2 == 0
    assert all(token % 2 for token in made["patient"][:6])
    assert len(made["patient"]) > 6
    assert set(made["clean"]) == {1, 2, 3}
    assert {(1, 2), (3, 3)}.isdisjoint(pairwise(made["clean"]))
    assert 5 not in made["biased"]
    plain = made["greedy"]
    repeats = len(plain) - len(set(plain))
    assert len(made["greedy penalised"]) - len(set(made["greedy penalised"])) <= repeats


@pytest.mark.parametrize("name", ["oracle", "cpu"])
def test_logprobs_are_those_of_the_unshaped_logits(name: str) -> None:
    engine = running(name).engine(vocab_size=VOCAB, max_in_flight=2)
    made = shaped.run(engine, asked())
    for each, count in (("told", shaped.LIKELY), ("biased", 2)):
        prompt, tokens = asked()[each][0], made[each].tokens
        logits = running(name).logits([*prompt, *tokens])[len(prompt) - 1 : -1]
        for place, told in enumerate(made[each].logprobs):
            row = slice(place, place + 1)
            ids = np.array(tokens[row], np.int32)
            assert shaped.worst_logprob(logits[row], ids, told, count) < CLOSE
        assert len(made[each].logprobs) == len(tokens)


@pytest.mark.parametrize("name", ["oracle", "cpu"])
def test_a_prompt_is_scored_whole_in_chunks_and_though_it_is_remembered(name: str) -> None:
    engine = running(name).engine(vocab_size=VOCAB)
    prompt = np.random.default_rng(9).integers(0, VOCAB, 60).tolist()
    shaped.run(engine, {"before": (prompt, SamplingParams(temperature=0, max_tokens=2))})
    params = SamplingParams(temperature=0, max_tokens=2, prompt_logprobs=shaped.LIKELY)
    (made,) = shaped.run(engine, {"scored": (prompt, params)}).values()
    assert [part.first for part in made.scored] == [1, 49]
    logits = running(name).logits(prompt, chunk=30)[:-1]
    for part in made.scored:
        count = len(part.logprobs.logprob)
        places = slice(part.first - 1, part.first - 1 + count)
        ids = np.array(prompt[1:][places], np.int32)
        assert shaped.worst_logprob(logits[places], ids, part.logprobs, shaped.LIKELY) < CLOSE
    assert sum(len(part.logprobs.logprob) for part in made.scored) == 59


def test_without_entries_the_host_tells_the_same_logprobs() -> None:
    params = SamplingParams(seed=1, max_tokens=4, logprobs=3, top_k=5)
    (made,) = shaped.run(
        running("plain").engine(vocab_size=VOCAB), {"a": (PROMPTS[0], params)}
    ).values()
    logits = running("plain").logits([*PROMPTS[0], *made.tokens])[len(PROMPTS[0]) - 1 : -1]
    for place, told in enumerate(made.logprobs):
        row = slice(place, place + 1)
        ids = np.array(made.tokens[row], np.int32)
        assert shaped.worst_logprob(logits[row], ids, told, 3) < CLOSE


def add_seven(prompt_ids: Ints, output_ids: Ints, logits: shaped.Floats) -> shaped.Floats:
    """Prefer the id seven past the last."""
    context = [*prompt_ids.tolist(), *output_ids.tolist()]
    logits[(context[-1] + 7) % VOCAB] += 1000
    return logits


def fail_at_the_third(prompt_ids: Ints, output_ids: Ints, logits: shaped.Floats) -> shaped.Floats:
    """Break."""
    if len(output_ids) == 2:
        raise ValueError("what now?")
    return logits


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", ["oracle", "cpu", "plain"])
def test_code_of_the_clients_chooses_for_its_own_request_alone(name: str, depth: int) -> None:
    engine = running(name).engine(vocab_size=VOCAB, max_in_flight=depth)
    own = SamplingParams(seed=8, max_tokens=5, logits_processors=[add_seven])
    without = "told" if name == "plain" else ""
    made = shaped.run(engine, {**asked(without=without), "own": ([50], own)})
    assert made["own"].tokens == [57, 64, 71, 78, 85]
    others = {each: one.tokens for each, one in made.items() if each != "own"}
    assert others == alone(name)


def test_code_of_the_clients_that_fails_ends_its_own_request_alone() -> None:
    engine = running("cpu").engine(vocab_size=VOCAB, max_in_flight=2)
    own = SamplingParams(temperature=0, max_tokens=9, logits_processors=[fail_at_the_third])
    made = shaped.run(engine, {"own": (PROMPTS[0], own), **asked()})
    assert made["own"].finished == "error"
    assert len(made["own"].tokens) == 2
    others = {each: one.tokens for each, one in made.items() if each != "own"}
    assert others == alone("cpu")


def test_a_request_that_asks_for_more_than_is_told_is_refused_by_name() -> None:
    engine = running("oracle").engine(vocab_size=VOCAB)
    for param in ("logprobs", "prompt_logprobs"):
        params = SamplingParams(**{param: 21})  # type: ignore[arg-type]
        with pytest.raises(ClientError, match=f"'{param}' asks for 21 ids"):
            engine.add(Request("a", PROMPTS[0], params))
    plain = running("plain").engine(vocab_size=VOCAB)
    scored = Request("a", PROMPTS[0], SamplingParams(prompt_logprobs=1))
    with pytest.raises(ClientError, match="'prompt_logprobs' cannot be used"):
        plain.add(scored)
