"""A model's facts: written down where it runs, a `Model` again where it is asked.

Tokenizer and chat template do not travel: each side reads them from the checkpoint.

Does not know how facts travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.asking import Loaded, SamplingParams
from octavo.config import Settings
from octavo.loading import chat_of
from octavo.process.messages import Facts
from octavo.tokenizer import Tokenizer
from octavo.weights.find import find

if TYPE_CHECKING:  # a model without conversations needs no template engine
    from octavo.chat.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class FarModel:
    """A model that runs somewhere else."""

    tokenizer: Tokenizer
    chat: ChatTemplate | None
    model_name: str
    max_context_tokens: int
    eos_ids: frozenset[int]
    default_sampling: SamplingParams


def facts_of(loaded: Loaded) -> Facts:
    """Write down what a model's clients must know of it."""
    return Facts(
        model_name=loaded.model_name,
        source=loaded.source,
        plan=str(loaded.plan),
        max_context_tokens=loaded.max_context_tokens,
        max_requests=loaded.engine.limits.max_requests,
        eos_ids=tuple(loaded.eos_ids),
        default_sampling=loaded.default_sampling,
    )


def far_model(facts: Facts, settings: Settings) -> FarModel:
    """Make the model that can be asked, from the facts of the one that runs and what was asked for.

    Effects: reads the tokenizer from the checkpoint; no weights.
    Raises: ModelError, where the checkpoint is not there any more.
    """
    tokenizer = find(facts.source, load_format="dummy").tokenizer()
    return FarModel(
        tokenizer=tokenizer,
        chat=chat_of(tokenizer, settings),
        model_name=facts.model_name,
        max_context_tokens=facts.max_context_tokens,
        eos_ids=frozenset(facts.eos_ids),
        default_sampling=facts.default_sampling,
    )
