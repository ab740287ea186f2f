"""The reference: which token a row of logits gives, in numpy, every transform in its order.

`choose` is what the plain road does for many rows: temperature and noise. `Choice` is the whole
order for one row, as the host does it where a device cannot; what devices do is held to it.

Knows nothing of seats or devices.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.sampling.parameters import SamplingParams
from octavo.sampling.seeds import sampling_words
from octavo_platforms import shaping
from octavo_platforms.philox import gumbel

Logits = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What decides over one output's tokens. `stop_ids` are those that would end it."""

    params: SamplingParams
    seed: int
    prompt_ids: Ints
    stop_ids: Collection[int] = ()

    def token(self, logits: Logits, output_ids: Ints) -> int:
        """Choose the token after an output. Shapes: logits [V]; output_ids [any]."""
        params = self.params
        words = np.array([sampling_words(params.temperature, self.seed)], np.uint32)
        shaped = self.shaped(logits, output_ids)[None]
        left = shaping.truncated(
            shaped,
            words[:, 0].copy().view(np.float32),
            np.array([max(0, params.top_k)], np.int32),
            np.array([[params.top_p, params.min_p]], np.float32),
        )
        position = np.array([len(self.prompt_ids) + len(output_ids)], np.int32)
        return int(choose(left, words=words, position=position)[0])

    def shaped(self, logits: Logits, output_ids: Ints) -> Logits:
        """Make all transforms before the temperature. Shapes: logits [V]; returns [V]."""
        params = self.params
        found = logits.astype(np.float32)
        if params.allowed_token_ids is not None:
            is_allowed = np.zeros(len(found), np.bool_)
            is_allowed[list(params.allowed_token_ids)] = True
            found[~is_allowed] = -np.inf
        found[forbidden(params, self.stop_ids, output_ids)] = -np.inf
        for token, value in (params.logit_bias or {}).items():
            found[token] += np.float32(value)
        for process in params.logits_processors:
            found = process(self.prompt_ids, output_ids, found).astype(np.float32, copy=False)
        context = np.concatenate([self.prompt_ids, output_ids]).astype(np.int32)
        penalties = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty)
        shaped: Logits = shaping.penalised(
            found[None],
            context[None, :-1],
            np.array([[len(context) - 1, len(self.prompt_ids)]], np.int32),
            context[-1:],
            np.array([penalties], np.float32),
        )[0]
        return shaped


def forbidden(params: SamplingParams, stop_ids: Collection[int], output_ids: Ints) -> list[int]:
    """List the ids that bad words and `min_tokens` forbid after an output."""
    found = [word[-1] for word in params.bad_token_ids if _ends_with(output_ids, word[:-1])]
    if len(output_ids) < params.min_tokens:
        found += stop_ids
    return found


def choose(
    logits: Logits, *, words: npt.NDArray[np.uint32], position: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Choose a token for each row, by temperature and noise alone.

    Shapes: logits [S, V]; words [S, 3], as `sampling_words` gives them; position [S], that of
        the new token in its context; returns [S], -1 for no token where the largest score is
        not a finite number.
    """
    tokens = _largest(logits)
    temperature = words[:, 0].copy().view(np.float32)
    drawn = np.flatnonzero(temperature)
    if drawn.size:
        low, high = words[drawn, 1].astype(np.uint64), words[drawn, 2].astype(np.uint64)
        noise = gumbel(high << np.uint64(32) | low, position[drawn], logits.shape[-1])
        tokens[drawn] = _largest(logits[drawn] / temperature[drawn, None] + noise)
    return tokens


def _largest(scores: Logits) -> Ints:
    found = scores.argmax(axis=-1)
    is_finite = np.isfinite(np.take_along_axis(scores, found[:, None], 1)[:, 0])
    return np.where(is_finite, found, -1).astype(np.int32)


def _ends_with(output_ids: Ints, beginning: Sequence[int]) -> bool:
    count = len(beginning)
    return count <= len(output_ids) and (
        count == 0 or output_ids[-count:].tolist() == list(beginning)
    )
