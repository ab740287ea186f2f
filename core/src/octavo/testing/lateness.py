"""Launches whose inputs come late, made by hand: masks from the token before, edited logits.

    forward 1 │ sample 1 │ forward 2 │            the token of step 1 is read here,
                                     │ sample 2   and gives the mask of step 2

Also a prompt's probabilities, in chunks. Knows nothing of the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from octavo.models.decoder import Limits
from octavo.sampling import choose, sampling_words
from octavo.testing.by_hand import launched, step_of
from octavo.testing.drive import Running
from octavo.testing.toys import llama
from octavo.testing.toys.late import MAX_SCORES
from octavo_platforms.inputs import DeviceRef, Ints, Pending, SamplingRows, StepInputs
from octavo_platforms.ops.scores import WORD_BITS, words_for
from octavo_platforms.tensor import Array, to_float

VOCAB = 101
NUM_TOKENS = 8
TOY = llama.spec(tied_embeddings=False)
LIMITS = Limits(max_step_tokens=32, max_requests=4, max_blocks=16, block_size=4)
PROMPTS: Sequence[Sequence[int]] = tuple(
    np.random.default_rng(length).integers(0, VOCAB, length).tolist() for length in (3, 9, 14)
)

Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]
Allowed = Callable[[int], npt.NDArray[np.bool_]]
Edit = Callable[[Floats, Sequence[int]], Floats]


@dataclass(frozen=True, slots=True)
class Late:
    """Prompts that run together, each for `num_tokens` tokens.

    Shapes: words uint32 [R, 3], as `octavo.sampling.sampling_words` gives them.
    """

    running: Running
    prompts: Sequence[Sequence[int]]
    words: Words
    num_tokens: int

    def masked(self, allowed: Allowed | None) -> list[list[int]]:
        """Choose on the device, by masks that follow from the token before, one launch ahead."""
        last = [prompt[-1] for prompt in self.prompts]
        step = self._prompts()
        forward = self._launch(replace(step, entry="forward"))
        outputs: list[list[int]] = []
        for _ in range(self.num_tokens):
            extra: dict[str, Array | DeviceRef] = {"logits": forward.ref("logits")}
            entry = "sample" if allowed is None else "sample_masked"
            if allowed is not None:
                extra["logit_mask"] = packed(np.stack([allowed(token) for token in last]))
            sample = self._launch(replace(step, entry=entry, extra=extra))
            step = self._next(step, from_seat=True)
            forward = self._launch(replace(step, entry="forward"))
            last = sample.read().tokens[:, 0].tolist()
            outputs.append(last)
        return [list(each) for each in zip(*outputs, strict=True)]

    def on_host(self, edit: Edit) -> list[list[int]]:
        """Read the logits, let them be edited, and choose on the host."""
        last = [prompt[-1] for prompt in self.prompts]
        step = self._prompts()
        outputs: list[list[int]] = []
        for _ in range(self.num_tokens):
            found = self._launch(replace(step, entry="forward")).read().outputs["logits"]
            position = step.computed + np.diff(step.query_starts)
            edited = edit(to_float(found).copy(), last)
            tokens = choose(edited, words=self.words, position=position.astype(np.int32))
            last = tokens.tolist()
            outputs.append(last)
            step = replace(self._next(step, from_seat=False), token_ids=tokens)
        return [list(each) for each in zip(*outputs, strict=True)]

    def scores(self, prompt: Sequence[int], *, computed: int = 0) -> tuple[Floats, Ints]:
        """Give how likely each token of a prompt was after those before it, in chunks.

        Shapes: returns logprob [C], rank [C], for the C tokens after position `computed`: those
            up to there are a prefix hit, in blocks that were written before.
        """
        logprobs, ranks = [], []
        for start in range(computed, len(prompt) - 1, MAX_SCORES):
            chunk = prompt[start : min(len(prompt) - 1, start + MAX_SCORES)]
            step = self._step([chunk], [start])
            rows = np.arange(len(chunk), dtype=np.int32)
            ids = np.array(prompt[start + 1 : start + 1 + len(chunk)], np.int32)
            shape = replace(step.shape, num_scores=len(chunk))
            asked = replace(step, entry="score", shape=shape, score_rows=rows, score_ids=ids)
            found = self._launch(asked).read().outputs
            logprobs.append(to_float(found["logprob"]))
            ranks.append(found["rank"].array.astype(np.int32))
        return np.concatenate(logprobs), np.concatenate(ranks)

    def _prompts(self) -> StepInputs:
        seats = np.arange(1, len(self.prompts) + 1, dtype=np.int32)
        step = self._step(self.prompts, [0] * len(self.prompts))
        return replace(step, sampling=SamplingRows(seats, self.words))

    def _next(self, step: StepInputs, *, from_seat: bool) -> StepInputs:
        computed = (step.computed + np.diff(step.query_starts)).tolist()
        following = self._step([[0]] * len(computed), computed)
        source = np.full(len(computed), int(from_seat), np.int32)
        return replace(following, token_from=source)

    def _step(self, queries: Sequence[Sequence[int]], computed: Sequence[int]) -> StepInputs:
        return step_of(self.running.definition, range(1, len(queries) + 1), queries, computed)

    def _launch(self, inputs: StepInputs) -> Pending:
        return launched(self.running, inputs)


def late_on(running: Running, temperature: float) -> Late:
    """Let the prompts run on a program, each with its number for a seed."""
    words = [sampling_words(temperature, seed) for seed in range(len(PROMPTS))]
    return Late(running, PROMPTS, np.array(words, np.uint32), NUM_TOKENS)


def allowed(token: int) -> npt.NDArray[np.bool_]:
    """Allow a third of the vocabulary, another one behind each token."""
    found: npt.NDArray[np.bool_] = (np.arange(VOCAB) + token) % 3 == 0
    return found


def forbid(logits: Floats, last: Sequence[int]) -> Floats:
    """Edit logits as the mask of `allowed` would."""
    for row, token in enumerate(last):
        logits[row, ~allowed(token)] = -np.inf
    return logits


def packed(mask: npt.NDArray[np.bool_]) -> Words:
    """Pack a mask into words, as `mask_logits` reads it. Shapes: [R, V]; [R, ceil(V/32)]."""
    num_words = words_for(mask.shape[1])
    bits = np.zeros((len(mask), num_words * WORD_BITS), np.uint32)
    bits[:, : mask.shape[1]] = mask
    shifted = bits.reshape(-1, num_words, WORD_BITS) << np.arange(WORD_BITS, dtype=np.uint32)
    words: Words = np.bitwise_or.reduce(shifted, axis=-1)
    return words
