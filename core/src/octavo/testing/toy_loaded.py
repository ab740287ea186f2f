"""A toy as a loaded model, for the faces' tests that need logprobs of prompts.

It has the face of the model without weights, and the toy's engine. Does not know what platform it
runs on, or the faces that are tested with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from octavo.config import Settings
from octavo.engine import Engine
from octavo.models.decoder import Limits
from octavo.testing.drive import run_on
from octavo.testing.loaded import VOCAB_SIZE, NullLoaded
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama
from octavo_platforms.discover import load
from octavo_platforms.loaded import Platform

LIMITS = Limits(max_step_tokens=64, max_requests=8, max_blocks=16, block_size=4)


@dataclass(frozen=True, slots=True)
class ToyLoaded(NullLoaded):
    """The face of the model without weights, around a toy."""

    engine: Engine = field(kw_only=True)
    max_context_tokens: int = 64


def load_toy(settings: Settings, *, report: Callable[[str], None]) -> ToyLoaded:
    """Load the toy on the oracle, for an engine process."""
    report("making random weights")
    toy = toy_loaded(load("oracle"), max_in_flight=settings.max_in_flight or 1)
    return replace(toy, source=settings.model or "")


def toy_loaded(platform: Platform, *, max_in_flight: int = 2) -> ToyLoaded:
    """Load the llama toy, with a token for each byte."""
    program = llama.program(replace(llama.spec(), vocab_size=VOCAB_SIZE), limits=LIMITS)
    on = run_on(platform, program, RandomWeights(program), num_blocks=100)
    return ToyLoaded(engine=on.engine(vocab_size=VOCAB_SIZE, max_in_flight=max_in_flight))
