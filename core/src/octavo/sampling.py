"""Sampling: what a client may ask for, and exactly which token that chooses.

A token is `argmax(logits / temperature + noise)`, the Gumbel-max form of drawing from the
softmax: no sort, no cumulative sum, and the same seed gives the same tokens in any batch.
Temperature 0 is greedy; ties go to the lowest id. `choose` is the reference in numpy that
platforms are held to.

Knows nothing of requests, seats or devices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from octavo.errors import ClientError
from octavo_platforms.philox import gumbel, philox4x32

MAX_TEMPERATURE = 2.0
MAX_STOP_TOKENS = 64
GREEDY_BELOW = 1e-5
_SEED_MASK = (1 << 64) - 1
_SEED_STREAM = 1 << 31


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What a client asks of one request's sampling.

    `temperature` 0 is greedy, and so is anything below `GREEDY_BELOW`; `seed` None lets the
    engine derive one; `max_tokens` None means up to the context's limit; `ignore_eos` goes on
    after the model's own end tokens; `stop_token_ids` end the output, whatever `ignore_eos` says.

    Units: temperature from 0 to 2; seed a signed 64-bit integer; max_tokens output tokens.
    Raises: ClientError, naming the parameter that is out of its range.
    """

    temperature: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    ignore_eos: bool = False
    stop_token_ids: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise _refused(
                "temperature", self.temperature, f"a number from 0 to {MAX_TEMPERATURE:g}"
            )
        if self.seed is not None and not _is_within(self.seed, -(2**63), 2**63 - 1):
            raise _refused("seed", self.seed, "an integer of 64 bits, or left out")
        if self.max_tokens is not None and not _is_within(self.max_tokens, 1, 2**31 - 1):
            raise _refused("max_tokens", self.max_tokens, "an integer from 1, or left out")
        if not isinstance(self.ignore_eos, bool):
            raise _refused("ignore_eos", self.ignore_eos, "true or false")
        stop = self.stop_token_ids
        if isinstance(stop, str) or not isinstance(stop, Sequence) or len(stop) > MAX_STOP_TOKENS:
            raise _refused("stop_token_ids", stop, f"a list of at most {MAX_STOP_TOKENS} token ids")
        for token in stop:
            if not _is_within(token, 0, 2**31 - 1):
                raise _refused("stop_token_ids", token, "token ids, which are integers from 0")
        object.__setattr__(self, "stop_token_ids", tuple(int(token) for token in stop))


def sampling_words(temperature: float, seed: int) -> tuple[int, int, int]:
    """Give what a device must know of a seat's sampling, as three words.

    Units: the bits of the float32 temperature (0 is greedy), the seed's low and high word.
    """
    effective = np.float32(0.0 if temperature < GREEDY_BELOW else temperature)
    bits = seed & _SEED_MASK
    return int(effective.view(np.uint32)), bits & 0xFFFFFFFF, bits >> 32


def derived_seed(engine_seed: int, arrival: int) -> int:
    """Give the seed of a request that asked for none: a function of the engine's and its turn."""
    low, high = engine_seed & 0xFFFFFFFF, (engine_seed >> 32) & 0xFFFFFFFF
    counter = np.array([arrival & 0xFFFFFFFF, arrival >> 32, _SEED_STREAM, 0], np.uint32)
    words = philox4x32(counter, np.array([low, high], np.uint32))
    return (int(words[1]) & 0x7FFFFFFF) << 32 | int(words[0])


def choose(
    logits: npt.NDArray[np.float32],
    *,
    words: npt.NDArray[np.uint32],
    position: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """Choose a token for each row: the reference that every platform is held to.

    Shapes: logits [S, V]; words [S, 3], as `sampling_words` gives them; position [S], that of
        the new token in its context; returns [S].
    """
    tokens: npt.NDArray[np.int32] = logits.argmax(axis=-1).astype(np.int32)
    temperature = words[:, 0].copy().view(np.float32)
    drawn = np.flatnonzero(temperature)
    if drawn.size:
        low, high = words[drawn, 1].astype(np.uint64), words[drawn, 2].astype(np.uint64)
        noise = gumbel(high << np.uint64(32) | low, position[drawn], logits.shape[-1])
        tokens[drawn] = (logits[drawn] / temperature[drawn, None] + noise).argmax(axis=-1)
    return tokens


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_within(value: object, low: int, high: int) -> bool:
    return (
        isinstance(value, int | np.integer)
        and not isinstance(value, bool)
        and low <= int(value) <= high
    )


def _refused(param: str, value: object, wanted: str) -> ClientError:
    shown = f"{value!r}"[:80]
    return ClientError(f"The parameter '{param}' is {shown}, but must be {wanted}.", param=param)
