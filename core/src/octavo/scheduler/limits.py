"""Limits: what the model, the memory and the operator allow, and prompts held against it.

Knows nothing of who runs or waits.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.config import PolicyName
from octavo.errors import ClientError, OperatorError, PromptTooLong
from octavo.models.choosing import DEFAULT_LOGPROBS
from octavo_platforms.inputs import Ints
from octavo_platforms.rules import ANY_STEP, StepRules


def joined(asked: StepRules, needed: StepRules) -> StepRules:
    """Give the rules that obey what was asked for and what a program needs.

    Raises: OperatorError, where both together allow nothing.
    """
    try:
        return asked.both(needed)
    except ValueError as error:
        raise OperatorError(
            f"The device cannot make steps as they were asked for: {error}. Give a "
            "--long-prefill-token-threshold that it can work with, or leave it out."
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the model, the memory and the operator allow.

    Units: `num_blocks` counts the null block, as the device's buffers do, and is None where no
        state stands in blocks; `max_context_tokens` is the model's longest prompt and output
        together; `max_logprobs` counts likeliest ids that are told of a token; `num_stages` is
        how many devices a step passes one after the other. Requests are then shared among as
        many steps, and nobody is in the next before its token is back. `rules` say what a step
        may be made of; `num_spare_blocks` stay free when somebody is seated beside others.
    Raises: OperatorError, for limits under which no request could ever run.
    """

    max_context_tokens: int
    num_blocks: int | None
    block_size: int
    max_requests: int
    max_step_tokens: int
    vocab_size: int
    prefix_caching: bool = True
    max_logprobs: int = DEFAULT_LOGPROBS
    num_stages: int = 1
    policy: PolicyName = "fcfs"
    rules: StepRules = ANY_STEP
    num_spare_blocks: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.max_requests <= self.max_step_tokens:
            raise OperatorError(
                f"{self.max_requests} requests cannot each get a token in a step of "
                f"{self.max_step_tokens} tokens: allow fewer requests (at least 1) or longer steps."
            )
        if self.num_context_tokens < 2:
            raise OperatorError(
                f"No request fits: {self._room()}a context of {self.max_context_tokens} tokens "
                "leave no room for a prompt and an output token. Give the cache more memory."
            )
        self._check_rules()

    @property
    def num_context_tokens(self) -> int:
        """Give the longest context that both the model and the blocks have room for."""
        if self.num_blocks is None:
            return self.max_context_tokens
        return min(self.max_context_tokens, (self.num_blocks - 1) * self.block_size)

    def _room(self) -> str:
        if self.num_blocks is None:
            return ""
        return f"{self.num_blocks} blocks of {self.block_size} tokens (one of them null) and "

    def _check_rules(self) -> None:
        rules, step = self.rules, self.max_step_tokens
        if rules.whole_prompts and step < self.num_context_tokens:
            raise OperatorError(
                f"Prompts are computed whole here, and a context has up to "
                f"{self.num_context_tokens} tokens, but a step has {step}. Give "
                f"--max-num-batched-tokens {self.num_context_tokens} or --max-model-len {step}."
            )
        if rules.part_multiple > step:
            raise OperatorError(
                f"Prompts are computed in multiples of {rules.part_multiple} tokens here, but a "
                f"step has {step}. Give --max-num-batched-tokens {rules.part_multiple} or more."
            )

    def check(self, prompt: Ints) -> None:
        """Hold a prompt against them.

        Raises: PromptTooLong, for one that could never run; ClientError, for a token that the
            model lacks.
        """
        longest = self.num_context_tokens
        if len(prompt) >= longest:
            holder = "model" if longest == self.max_context_tokens else "cache"
            raise PromptTooLong(
                prompt_tokens=len(prompt),
                limit_tokens=longest - 1,
                why=f"the {holder} holds {longest} tokens and the output needs one of them",
            )
        largest = int(prompt.max())
        if largest >= self.vocab_size:
            raise ClientError(
                f"The prompt has the token id {largest}, but the model's vocabulary has "
                f"{self.vocab_size} tokens; send ids below that.",
                param="prompt",
            )
