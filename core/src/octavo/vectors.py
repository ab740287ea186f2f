"""What rows mean: vectors of texts, probabilities of classes, and scores of pairs.

    embed      prompt ─> row, cut, made as long as one             how texts are compared
    classify   prompt ─> scores of classes, weighed                which class a text is of
    score      two texts ─> a score of both together, or the cosine of their vectors

All prompts go to the pooler at once and are batched there; results come back in their order.

Knows no family, no device, and neither HTTP nor the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from octavo.bars import bar
from octavo.errors import ClientError
from octavo.models.encoder import Weighing
from octavo.pooler import Pooler, PoolRequest, Rows
from octavo.prompts import Prompt, text_or_ids
from octavo.tokenizer import Tokenizer
from octavo_platforms.inputs import Ints

ALL_THAT_FIT = -1
_MIN_LENGTH = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingParams:
    """How a prompt's row is made into what is given back; None leaves it to the model.

    With `use_activation` vectors have the length one, and classes probabilities. `dimensions` keeps
    the first numbers of a vector. `truncate_prompt_tokens` cuts texts that are longer off at their
    end, -1 as far as the model can read; without it they are refused.
    """

    dimensions: int | None = None
    use_activation: bool | None = None
    truncate_prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.dimensions is not None and self.dimensions < 1:
            raise ClientError(
                f"'dimensions' is {self.dimensions}, but must be at least 1.", param="dimensions"
            )
        cut = self.truncate_prompt_tokens
        if cut is not None and cut != ALL_THAT_FIT and cut < 1:
            raise ClientError(
                f"'truncate_prompt_tokens' is {cut}, but must be at least 1, or -1 for all that "
                "the model can read.",
                param="truncate_prompt_tokens",
            )


@dataclass(frozen=True, slots=True)
class EmbeddingOutput:
    """A text's vector."""

    embedding: list[float]


@dataclass(frozen=True, slots=True)
class ClassificationOutput:
    """How likely each class is, or its score where nothing was weighed."""

    probs: list[float]

    @property
    def num_classes(self) -> int:
        """Count the classes."""
        return len(self.probs)


@dataclass(frozen=True, slots=True)
class ScoringOutput:
    """How well two texts go together."""

    score: float


Output = TypeVar("Output", EmbeddingOutput, ClassificationOutput, ScoringOutput)


@dataclass(frozen=True, slots=True)
class PoolingRequestOutput(Generic[Output]):
    """What came of a prompt, or of a pair, whose tokens are then those of both texts."""

    request_id: str
    outputs: Output
    prompt_token_ids: list[int]
    finished: bool = True


class EmbeddingRequestOutput(PoolingRequestOutput[EmbeddingOutput]):
    """What came of a prompt that was embedded."""

    __slots__ = ()


class ClassificationRequestOutput(PoolingRequestOutput[ClassificationOutput]):
    """What came of a prompt that was classified."""

    __slots__ = ()


class ScoringRequestOutput(PoolingRequestOutput[ScoringOutput]):
    """What came of a pair that was scored."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Read:
    """A prompt as the model reads it. Shapes: ids and segments [T]."""

    ids: Ints
    segments: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledModel:
    """A model that pools or scores, ready to do so in this process.

    `width` is that of its vectors, `num_classes` None where it pools. `has_nested` says that the
    first numbers of a vector are a vector too. `prompt` is put before a text, though not before
    those of a pair. With `tells_segments` these are told apart by more than their place.
    """

    pooler: Pooler
    tokenizer: Tokenizer
    model_name: str
    plan: object
    width: int
    num_classes: int | None
    weighing: Weighing = "none"
    is_normalised: bool = True
    is_lower: bool = False
    prompt: str = ""
    tells_segments: bool = False
    has_nested: bool = False

    def embed(
        self, prompts: Sequence[Prompt], params: PoolingParams, *, use_tqdm: bool
    ) -> list[EmbeddingRequestOutput]:
        """Give each prompt's vector. Raises: ClientError, for what cannot be embedded."""
        if self.num_classes is not None:
            raise self._cannot("embed", "classify, or score")
        self._check_dimensions(params.dimensions)
        asked = [self._one(prompt, params) for prompt in prompts]
        rows = self._vectors(self._run(asked, "embedding", use_tqdm), params)
        return [
            EmbeddingRequestOutput(f"{index}", EmbeddingOutput(row.tolist()), each.ids.tolist())
            for index, (each, row) in enumerate(zip(asked, rows, strict=True))
        ]

    def classify(
        self, prompts: Sequence[Prompt], params: PoolingParams, *, use_tqdm: bool
    ) -> list[ClassificationRequestOutput]:
        """Give the probabilities of classes. Raises: ClientError, for what cannot be classified."""
        if self.num_classes is None:
            raise self._cannot("classify", "embed, or score")
        asked = [self._one(prompt, params) for prompt in prompts]
        rows = self._weighed(self._run(asked, "classifying", use_tqdm), params)
        return [
            ClassificationRequestOutput(
                f"{index}", ClassificationOutput(row.tolist()), each.ids.tolist()
            )
            for index, (each, row) in enumerate(zip(asked, rows, strict=True))
        ]

    def score(
        self,
        first: Sequence[Prompt],
        second: Sequence[Prompt],
        params: PoolingParams,
        *,
        use_tqdm: bool,
    ) -> list[ScoringRequestOutput]:
        """Give each pair's score; one text in front stands for as many as are behind.

        Raises: ClientError, for what cannot be scored.
        """
        if len(first) not in (1, len(second)):
            raise ClientError(
                f"There are {len(first)} first texts, but {len(second)} second ones. Give one for "
                "all, or one for each.",
                param="data_1",
            )
        if self.num_classes is None:
            return self._cosines(first, second, params, use_tqdm=use_tqdm)
        if self.num_classes != 1:
            raise ClientError(
                f"'{self.model_name}' tells {self.num_classes} classes apart, and a pair's score "
                "is that of one class. Use classify."
            )
        whose = first if len(first) == len(second) else [first[0]] * len(second)
        asked = [self._pair(*pair, params) for pair in zip(whose, second, strict=True)]
        rows = self._weighed(self._run(asked, "scoring", use_tqdm), params)
        return [
            ScoringRequestOutput(f"{index}", ScoringOutput(float(row[0])), each.ids.tolist())
            for index, (each, row) in enumerate(zip(asked, rows, strict=True))
        ]

    def _check_dimensions(self, asked: int | None) -> None:
        if asked is None:
            return
        if not self.has_nested:
            raise ClientError(
                f"'dimensions' is {asked}, but the config of '{self.model_name}' does not say that "
                "a part of its vectors is a vector. Leave it out.",
                param="dimensions",
            )
        if asked > self.width:
            raise ClientError(
                f"'dimensions' is {asked}, but a vector has {self.width} numbers. Ask for fewer.",
                param="dimensions",
            )

    def _cosines(
        self,
        first: Sequence[Prompt],
        second: Sequence[Prompt],
        params: PoolingParams,
        *,
        use_tqdm: bool,
    ) -> list[ScoringRequestOutput]:
        asked = [self._one(prompt, params) for prompt in (*first, *second)]
        rows = _of_length_one(self._run(asked, "scoring", use_tqdm))
        found = []
        for index in range(len(second)):
            left, right = index if len(first) > 1 else 0, len(first) + index
            score = float(np.sum(rows[left] * rows[right]))
            ids = [*asked[left].ids.tolist(), *asked[right].ids.tolist()]
            found.append(ScoringRequestOutput(f"{index}", ScoringOutput(score), ids))
        return found

    def _one(self, prompt: Prompt, params: PoolingParams) -> _Read:
        given = text_or_ids(prompt)
        if not isinstance(given, str):
            return _Read(self._ids(given))
        ids, _ = self._encoded(self.prompt + given, None, params)
        return _Read(ids)

    def _pair(self, first: Prompt, second: Prompt, params: PoolingParams) -> _Read:
        texts = [text_or_ids(first), text_or_ids(second)]
        left, right = texts
        if not isinstance(left, str) or not isinstance(right, str):
            raise ClientError(
                f"'{self.model_name}' reads both texts of a pair at once, so token ids cannot be "
                "joined. Give texts.",
                param="data_1",
            )
        ids, segments = self._encoded(left, right, params)
        return _Read(ids, segments if self.tells_segments else None)

    def _encoded(self, text: str, behind: str | None, params: PoolingParams) -> tuple[Ints, Ints]:
        if self.is_lower:
            text, behind = text.lower(), None if behind is None else behind.lower()
        cut, most = params.truncate_prompt_tokens, self.pooler.limits.max_prompt_tokens
        limit = None if cut is None else most if cut == ALL_THAT_FIT else min(cut, most)
        try:
            ids, segments = self.tokenizer.encode_segments(text, behind, max_tokens=limit)
        except ValueError as error:
            raise ClientError(f"{error}.", param="truncate_prompt_tokens") from error
        return np.asarray(ids, np.int32), np.asarray(segments, np.int32)

    def _ids(self, given: Sequence[int]) -> Ints:
        limit = self.pooler.limits.vocab_size
        for token in given:
            if not 0 <= token < limit:
                raise ClientError(
                    f"The prompt has the token id {token}, but the vocabulary has {limit} tokens.",
                    param="prompt",
                )
        return np.asarray(given, np.int32)

    def _run(self, asked: Sequence[_Read], what: str, use_tqdm: bool) -> Rows:
        """Give the rows of prompts. Raises: ClientError, before any of them runs."""
        found: dict[str, Rows] = {}
        with bar(len(asked), unit="prompt", what=what, shown=use_tqdm) as grown:
            try:
                for index, each in enumerate(asked):
                    self.pooler.add(PoolRequest(f"{index}", each.ids, each.segments))
                while self.pooler.has_work:
                    made = self.pooler.step()
                    found.update(made)
                    grown.update(len(made))
            finally:
                self.pooler.drop()
        return np.stack([found[f"{index}"] for index in range(len(asked))]) if asked else _NO_ROWS

    def _vectors(self, rows: Rows, params: PoolingParams) -> Rows:
        if params.dimensions is not None:
            rows = rows[:, : params.dimensions]
        is_normalised = self.is_normalised
        if params.use_activation is not None:
            is_normalised = params.use_activation
        return _of_length_one(rows) if is_normalised else rows

    def _weighed(self, rows: Rows, params: PoolingParams) -> Rows:
        if params.use_activation is False or self.weighing == "none":
            return rows
        if self.weighing == "sigmoid":
            return (1 / (1 + np.exp(-rows.astype(np.float64)))).astype(np.float32)
        shares = np.exp(rows - rows.max(axis=-1, keepdims=True), dtype=np.float64)
        found: Rows = (shares / shares.sum(axis=-1, keepdims=True)).astype(np.float32)
        return found

    def _cannot(self, what: str, instead: str) -> ClientError:
        kind = "pools" if self.num_classes is None else "scores classes"
        return ClientError(f"'{self.model_name}' {kind}, so it cannot {what}. Use {instead}.")


_NO_ROWS = np.zeros((0, 0), np.float32)


def _of_length_one(rows: Rows) -> Rows:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    found: Rows = (rows / np.maximum(lengths, _MIN_LENGTH)).astype(np.float32)
    return found
