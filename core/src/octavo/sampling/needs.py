"""Needs: what a request's choice takes beyond temperature and seed, and what a program offers.

A need is a bit; those of a step's rows together say which entries its launch runs. Most requests
have none, and are asked for nothing.

    CUT      top-k, top-p, min-p             entry sample_cut
    SHAPED   masks, biases, penalties        entry sample_shaped, which also cuts
    TOLD     logprobs of what is chosen      entry tell
    SCORED   logprobs of the prompt          entries forward_kept and score
    HOSTED   what the program lacks an entry for, and code of the client's own: logits come to
             the host, which chooses. Such a step is alone: it is launched when all before it
             were read
    LATE     the next step brings what follows from the last token, so the host has to know it

Knows nothing of how entries are launched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from octavo.errors import ClientError, UnsupportedParameter
from octavo.models.choosing import DEFAULT_LOGPROBS
from octavo.sampling.parameters import ALL_LOGPROBS, SamplingParams, refused

CUT, SHAPED, TOLD, SCORED, HOSTED, LATE = (1 << bit for bit in range(6))
_HOST_LACKS = "this device's program gives no logits to choose by on the host"
_NO_SCORES = "this device's program cannot tell how likely a prompt was"


@dataclass(frozen=True, slots=True)
class Offers:
    """What a program can do beside choosing by temperature and seed.

    `max_logprobs` is how many likeliest ids may be asked for.
    """

    cuts: bool = False
    shapes: bool = False
    tells: bool = False
    scores: bool = False
    hosts: bool = True
    max_logprobs: int = DEFAULT_LOGPROBS


@dataclass(frozen=True, slots=True)
class Want:
    """What the choice of one request's tokens follows from, for those who prepare it."""

    params: SamplingParams
    seed: int
    num_prompt_tokens: int
    stop_ids: tuple[int, ...]
    vocab_size: int


def offers_of(entries: Collection[str], *, max_logprobs: int) -> Offers:
    """Say what a program with these entries offers."""
    known = frozenset(entries)
    hosts = known >= {"forward", "sample"}
    return Offers(
        cuts=hosts and "sample_cut" in known,
        shapes=hosts and "sample_shaped" in known,
        tells=hosts and "tell" in known,
        scores=known >= {"forward_kept", "sample", "score"},
        hosts=hosts,
        max_logprobs=max_logprobs,
    )


def needs_of(params: SamplingParams, offers: Offers, *, vocab_size: int) -> int:
    """Say what a request needs of a program that offers this, as bits.

    Raises: ClientError, for ids or counts that the model lacks; UnsupportedParameter, for what
        neither the program nor the host can do here.
    """
    params.check_vocabulary(vocab_size)
    for param in ("logprobs", "prompt_logprobs"):
        _check_count(param, getattr(params, param), offers.max_logprobs, vocab_size)
    offered = {
        CUT: offers.cuts or offers.shapes,
        SHAPED: offers.shapes,
        TOLD: offers.tells,
        SCORED: offers.scores,
    }
    needs = 0
    for param, need in _asked(params):
        if not offered.get(need, False):
            if not offers.hosts or need == SCORED:
                raise UnsupportedParameter(param, why=_HOST_LACKS if need != SCORED else _NO_SCORES)
            needs |= HOSTED
        needs |= need
    if needs & HOSTED or any(len(word) > 1 for word in params.bad_token_ids):
        needs |= LATE
    return needs


def num_logprobs(asked: int | None, vocab_size: int) -> int:
    """Give how many likeliest ids a parameter asks for."""
    if asked is None:
        return 0
    return vocab_size if asked == ALL_LOGPROBS else asked


def _asked(params: SamplingParams) -> Iterator[tuple[str, int]]:
    """Walk the parameters that ask for something, with what each needs."""
    is_hot = params.temperature > 0
    for param, is_asked, need in (
        ("top_k", params.top_k > 0 and is_hot, CUT),
        ("top_p", params.top_p < 1 and is_hot, CUT),
        ("min_p", params.min_p > 0 and is_hot, CUT),
        ("logit_bias", bool(params.logit_bias), SHAPED),
        ("allowed_token_ids", params.allowed_token_ids is not None, SHAPED),
        ("bad_token_ids", bool(params.bad_token_ids), SHAPED),
        ("min_tokens", params.min_tokens > 0, SHAPED),
        ("repetition_penalty", params.repetition_penalty != 1, SHAPED),
        ("presence_penalty", params.presence_penalty != 0, SHAPED),
        ("frequency_penalty", params.frequency_penalty != 0, SHAPED),
        ("logprobs", params.logprobs is not None, TOLD),
        ("prompt_logprobs", params.prompt_logprobs is not None, SCORED),
        ("logits_processors", bool(params.logits_processors), HOSTED),
    ):
        if is_asked:
            yield param, need


def _check_count(param: str, asked: int | None, most: int, vocab_size: int) -> None:
    count = num_logprobs(asked, vocab_size)
    if count > vocab_size:
        raise refused(param, asked, f"at most the vocabulary's size, {vocab_size}")
    if count > most:
        raise ClientError(
            f"The parameter '{param}' asks for {count} ids of each token, but this model was "
            f"loaded to tell at most {most}. Ask for fewer, or load it with more: max_logprobs.",
            param=param,
        )
