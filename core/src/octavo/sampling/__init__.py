"""Sampling: what a client may ask for, and exactly which token that chooses.

A token is `argmax(logits / temperature + noise)`, the Gumbel-max form of drawing from the
softmax: no sort, no cumulative sum, and the same seed gives the same tokens in any batch.
Temperature 0 is greedy; ties go to the lowest id. Before that, in this order:

    raw logprobs          what `logprobs` tells is of the model, not of what follows
    allowed_token_ids     all others are forbidden
    bad words             the last token of one whose others were just made is forbidden
    min_tokens            until then, what would end the output is forbidden
    logit_bias            is added
    logits_processors     the client's own code, on the host
    penalties             repetition; then frequency; then presence
    temperature           divides
    min_p, top_k, top_p   forbid what is unlikely, each among what the one before left
    noise                 and the largest wins

    parameters   what may be asked, its limits, and their refusals
    seeds        what a device keeps of a request: three words
    reference    the whole order for one row, in numpy: what every road is held to
    needs        which of it a request uses, and so which entries its launches run

A device does all but the processors (`octavo_platforms.shaping` has the arithmetic). Tests hold
the reference to hand-made cases, to another library's processors and to exact distributions.

Knows nothing of seats, batches or devices.
"""

from __future__ import annotations

from octavo.sampling.parameters import (
    MAX_TEMPERATURE,
    LogitsProcessor,
    SamplingParams,
)
from octavo.sampling.reference import choose
from octavo.sampling.seeds import derived_seed, sampling_words

__all__ = [
    "MAX_TEMPERATURE",
    "LogitsProcessor",
    "SamplingParams",
    "choose",
    "derived_seed",
    "sampling_words",
]
