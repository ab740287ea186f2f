"""Prompts as Python programs give them, and one prompt's outputs while they grow.

A prompt becomes as many requests as outputs are made of it; all faces make them here.

Does not know the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from octavo.asking import Model, SamplingParams, make_request, prompt_ids
from octavo.errors import ClientError
from octavo.forks import seed_of_fork
from octavo.outputs import CompletionOutput, OutputText, RequestOutput

NamedPrompt: TypeAlias = Mapping[str, str | Sequence[int]]
Prompt: TypeAlias = str | Sequence[int] | NamedPrompt


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, as text where it came so and as token ids, and its outputs as they grow."""

    name: str
    prompt: str | None
    prompt_token_ids: list[int]
    params: SamplingParams
    outputs: list[OutputText]

    def given(self) -> list[OutputText]:
        """Give the outputs to be shown: of more than were asked for, the best."""
        if self.params.best_of is None:
            return self.outputs
        return sorted(self.outputs, key=_badness)[: self.params.n]

    def result(self) -> RequestOutput:
        """Give what came of it so far."""
        return self._result([output.completion(at) for at, output in enumerate(self.given())])

    def news(self) -> RequestOutput:
        """Give what came of it since this was last asked."""
        return self._result([output.news(at) for at, output in enumerate(self.outputs)])

    def _result(self, completions: list[CompletionOutput]) -> RequestOutput:
        first = self.outputs[0]
        if self.params.logprobs is None:
            completions = [
                replace(each, logprobs=None, cumulative_logprob=None) for each in completions
            ]
        return RequestOutput(
            request_id=self.name,
            prompt=self.prompt,
            prompt_token_ids=self.prompt_token_ids,
            outputs=completions,
            finished=all(output.finish_reason is not None for output in self.outputs),
            num_cached_tokens=first.request.num_cached_tokens,
            prompt_logprobs=first.prompt_logprobs(),
        )


def ask(
    model: Model, name: str, prompt: Prompt, params: SamplingParams, *, priority: int = 0
) -> Asked:
    """Make a prompt's requests, one for each output.

    Raises: ClientError for a prompt that cannot be used.
    """
    ids = prompt_ids(model, text_or_ids(prompt))
    asked = ask_ids(model, name, ids, params, cache_salt=salt_of(prompt), priority=priority)
    return replace(asked, prompt=text_of(prompt))


def ask_ids(
    model: Model,
    name: str,
    ids: Sequence[int],
    params: SamplingParams,
    *,
    cache_salt: str = "",
    priority: int = 0,
) -> Asked:
    """Make the requests of a prompt that is token ids of the model, one for each output.

    The first alone scores the prompt, where that is asked for.

    Raises: ClientError for a prompt that cannot be used.
    """
    count = params.num_outputs
    told = params
    if params.best_of is not None and params.logprobs is None:
        told = replace(params, logprobs=0)
    outputs: list[OutputText] = []
    for index in range(count):
        each = told
        if count > 1:
            scored = None if index else params.prompt_logprobs
            seed = seed_of_fork(params.seed, index)
            each = replace(told, seed=seed, prompt_logprobs=scored)
        each_name = name if count == 1 else f"{name}.{index}"
        known = outputs[0].request.prompt_ids if outputs else ids
        request = make_request(
            model, each_name, known, each, cache_salt=cache_salt, priority=priority
        )
        outputs.append(OutputText(model, request, each))
    return Asked(name, None, outputs[0].request.prompt_ids.tolist(), params, outputs)


def text_or_ids(prompt: Prompt) -> str | Sequence[int]:
    """Give a prompt's text or token ids. Raises: ClientError for a mapping of anything else."""
    if not isinstance(prompt, Mapping):
        return prompt
    named = set(prompt) - {"cache_salt"}
    if named not in ({"prompt_token_ids"}, {"prompt"}):
        raise ClientError(
            f"A prompt has the keys {sorted(prompt)}, but has to have 'prompt_token_ids' or "
            "'prompt', and may have 'cache_salt' alone beside it.",
            param="prompts",
        )
    found = prompt[named.pop()]
    return found


def text_of(prompt: Prompt) -> str | None:
    """Give a prompt's text; None where token ids were given."""
    found = text_or_ids(prompt)
    return found if isinstance(found, str) else None


def salt_of(prompt: Prompt) -> str:
    """Give what a prompt's remembered blocks are kept apart by. Raises: ClientError."""
    salt = prompt.get("cache_salt", "") if isinstance(prompt, Mapping) else ""
    if not isinstance(salt, str):
        raise ClientError("A prompt's 'cache_salt' has to be a text.", param="cache_salt")
    return salt


def _badness(output: OutputText) -> float:
    return -output.cumulative_logprob / max(1, len(output.token_ids))
