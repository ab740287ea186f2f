"""The detour: launches for steps in which somebody wants more than temperature and seed.

    forward ──logits──> sample_cut or sample_shaped ──tokens──> tell        all on the device
       └─ hidden ─────> score, in chunks                                    (forward_kept)
       └─ logits to the host, which chooses ──> sample, of rows with one id each

Everybody in such a step goes this way, and gets the token that the short road gives, to the bit
where only settings of others differ. Where the host chooses, the device is told by logits that
leave one id, so that what seats keep stays true.

Knows nothing of requests or scheduling.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from octavo.batch import Batch
from octavo.models.choosing import MAX_SCORES
from octavo.sampling.needs import CUT, HOSTED, SCORED, SHAPED, TOLD, Want, num_logprobs
from octavo.sampling.reference import Choice
from octavo.step import LOGPROB, RANK, SCORED_SPANS, TOP_IDS, TOP_LOGPROBS, Step, of_prompt
from octavo_platforms import shaping
from octavo_platforms.inputs import NO_TOKEN, DeviceRef, Ints, Pending, StepInputs, StepResult
from octavo_platforms.platform import Program
from octavo_platforms.shapes import padded
from octavo_platforms.tensor import Array, HostTensor, cast, host, to_float

LOGITS, HIDDEN, TOKENS = "logits", "hidden", "tokens"
_TOLD = (LOGPROB, RANK, TOP_IDS, TOP_LOGPROBS)
_LOG = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Outputs = dict[str, HostTensor]


class Detour:
    """Turns steps into several launches each."""

    def __init__(self, program: Program, batch: Batch) -> None:
        self._program = program
        self._batch = batch
        self._seats = batch.seats

    def launch(self, step: Step, needs: int) -> Pending:
        """Start a step whose rows need this. Where the host chooses, it waits for the logits."""
        inputs = self._batch.inputs(step, entry="forward")
        entry = "forward_kept" if needs & SCORED else "forward"
        forward = self._launch(inputs, entry, {})
        scores = self._scores(step, inputs, forward) if needs & SCORED else None
        if needs & HOSTED:
            return self._hosted(step, inputs, forward, scores)
        logits = forward.ref(LOGITS)
        sample = self._launch(inputs, *self._choice(step, needs, logits))
        tell = None
        if needs & TOLD:
            tell = self._launch(inputs, "tell", {LOGITS: logits, "chosen": sample.ref(TOKENS)})
        return _Parts(sample, {}, tell, scores)

    def _launch(
        self, inputs: StepInputs, entry: str, extra: Mapping[str, Array | DeviceRef]
    ) -> Pending:
        given = replace(inputs, entry=entry, extra=extra)
        return self._program.launch(padded(given, self._program.shape_policy))

    def _choice(
        self, step: Step, needs: int, logits: DeviceRef
    ) -> tuple[str, dict[str, Array | DeviceRef]]:
        wanted = self._batch.wanted
        if needs & SHAPED or (needs & CUT and "sample_cut" not in self._program.entries):
            return "sample_shaped", {LOGITS: logits, **wanted.cuts(step), **wanted.shapes(step)}
        if needs & CUT:
            return "sample_cut", {LOGITS: logits, **wanted.cuts(step)}
        return "sample", {LOGITS: logits}

    def _scores(self, step: Step, inputs: StepInputs, forward: Pending) -> _Scores:
        """Ask how likely the step's prompt tokens were that somebody wants to know of."""
        spans, rows, ids = [], [], []
        for row in np.flatnonzero(self._seats.needs[step.seats] & SCORED).tolist():
            seat, first = int(step.seats[row]), int(step.computed[row])
            want = self._seats.wants[seat]
            assert want is not None, "who needs something wants it"
            end = min(first + int(step.num_tokens[row]), want.num_prompt_tokens - 1)
            if end > first:
                spans.append((row, first + 1, end - first))
                start = int(inputs.query_starts[row])
                rows.append(np.arange(start, start + end - first, dtype=np.int32))
                ids.append(self._seats.contexts[seat, first + 1 : end + 1])
        if not spans:
            return _Scores((), np.zeros((0, 3), np.int32))
        all_rows, all_ids = np.concatenate(rows), np.concatenate(ids)
        hidden = forward.ref(HIDDEN)
        chunks = (slice(at, at + MAX_SCORES) for at in range(0, len(all_rows), MAX_SCORES))
        return _Scores(
            tuple(self._score(inputs, hidden, all_rows[chunk], all_ids[chunk]) for chunk in chunks),
            np.array(spans, np.int32),
        )

    def _score(self, inputs: StepInputs, hidden: DeviceRef, rows: Ints, ids: Ints) -> Pending:
        shape = replace(inputs.shape, num_scores=len(rows))
        asked = replace(inputs, shape=shape, score_rows=rows, score_ids=ids)
        return self._launch(asked, "score", {HIDDEN: hidden})

    def _hosted(
        self, step: Step, inputs: StepInputs, forward: Pending, scores: _Scores | None
    ) -> Pending:
        found = forward.read().outputs[LOGITS]
        logits = to_float(found)
        edited = found.array.copy()
        tokens: Ints = np.zeros(len(step.rows), np.int32)
        wants = [self._seats.wants[seat] for seat in step.seats[step.rows].tolist()]
        only = np.empty(logits.shape[1], np.float32)
        for row, want in enumerate(wants):
            if want is None:
                continue
            tokens[row] = token = self._chosen(step, row, want, logits[row])
            only.fill(-np.inf)
            if token != NO_TOKEN:
                only[token] = 0
            edited[row] = cast(host(only), found.dtype).array
        sample = self._launch(inputs, "sample", {LOGITS: edited})
        told = _told_on_host(logits, np.maximum(tokens, 0), wants)
        return _Parts(sample, told, None, scores)

    def _chosen(self, step: Step, row: int, want: Want, logits: Floats) -> int:
        """Choose a row's token here; none where the client's own code fails or leaves nothing."""
        request = int(step.rows[row])
        length = int(step.computed[request] + step.num_tokens[request])
        context = self._seats.contexts[int(step.seats[request]), :length].copy()
        prompt, output = np.split(context, [want.num_prompt_tokens])
        choice = Choice(
            params=want.params, seed=want.seed, prompt_ids=prompt, stop_ids=want.stop_ids
        )
        try:
            return choice.token(logits, output)
        except Exception as error:
            _LOG.warning("a logits processor failed, and its request with it: %r", error)
            return NO_TOKEN


@dataclass(frozen=True, slots=True)
class _Scores:
    """Launches that score prompts, and which tokens they score.

    Shapes: spans [G, 3]: the request's place in the step, the first position, how many.
    """

    chunks: tuple[Pending, ...]
    spans: Ints

    def read(self) -> Outputs:
        """Wait for all of them."""
        if not self.chunks:
            return {}
        read = [chunk.read().outputs for chunk in self.chunks]
        found = {
            of_prompt(name): host(np.concatenate([each[name].array for each in read]))
            for name in _TOLD
            if name in read[0]
        }
        return {**found, SCORED_SPANS: host(self.spans)}


@dataclass(frozen=True, slots=True)
class _Parts:
    """A step that was launched in parts; `outputs` are known already."""

    sample: Pending
    outputs: Mapping[str, HostTensor]
    tell: Pending | None
    scores: _Scores | None

    def ref(self, output: str) -> DeviceRef:
        """Name an output of the choice."""
        return self.sample.ref(output)

    def ready(self) -> bool:
        """Tell whether the last of them is over: launches run in the order they were made."""
        return (self.sample if self.tell is None else self.tell).ready()

    def read(self) -> StepResult:
        """Wait for all of them, in their order."""
        found = {} if self.scores is None else self.scores.read()
        result = self.sample.read()
        told = {} if self.tell is None else self.tell.read().outputs
        return replace(result, outputs={**result.outputs, **self.outputs, **found, **told})


def _told_on_host(logits: Floats, tokens: Ints, wants: Sequence[Want | None]) -> Outputs:
    """Tell how likely the tokens were, where somebody wants to know."""
    counts = [
        num_logprobs(want.params.logprobs, logits.shape[1])
        for want in wants
        if want is not None and want.params.logprobs is not None
    ]
    if not counts:
        return {}
    logprobs = shaping.logprobs(logits).astype(np.float32)
    rows = np.arange(len(tokens))
    own = logprobs[rows, tokens]
    found = {LOGPROB: own, RANK: (logprobs > own[:, None]).sum(axis=1).astype(np.int32)}
    if max(counts):
        found[TOP_IDS], top = shaping.most_likely(logits, max(counts))
        found[TOP_LOGPROBS] = top.astype(np.float32)
    return {name: host(array) for name, array in found.items()}
