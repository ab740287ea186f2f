"""What was asked for, as limits: from settings and what became of them to what a scheduler obeys.

Made before a weight is read, so that what cannot be is refused at once.

Knows nothing of models and platforms but the numbers that `resolve` made.
"""

from __future__ import annotations

from octavo.config import ALL_LOGPROBS, Settings
from octavo.resolved import Resolved
from octavo.scheduler.limits import Limits
from octavo_platforms.rules import StepRules


def limits_of(settings: Settings, resolved: Resolved, *, vocab_size: int) -> Limits:
    """Give the limits of an engine that runs with these numbers.

    Raises: OperatorError, for limits under which no request could ever run.
    """
    return Limits(
        max_context_tokens=resolved.max_context_tokens,
        num_blocks=None if resolved.num_blocks is None else resolved.num_blocks + 1,
        block_size=resolved.block_size,
        max_requests=resolved.max_requests,
        max_step_tokens=resolved.max_step_tokens,
        vocab_size=vocab_size,
        prefix_caching=settings.prefix_caching,
        max_logprobs=num_logprobs(settings, vocab_size),
        policy=settings.scheduling_policy,
        rules=StepRules(
            max_part_tokens=settings.long_prefill_tokens or None,
            whole_prompts=not settings.chunked_prefill,
            prompt_interval=settings.prefill_interval,
        ),
        num_spare_blocks=int(settings.watermark * (resolved.num_blocks or 0)),
    )


def num_logprobs(settings: Settings, vocab_size: int) -> int:
    """Give how many of the likeliest ids may be told of a token."""
    asked = settings.max_logprobs
    return vocab_size if asked == ALL_LOGPROBS else min(asked, vocab_size)
