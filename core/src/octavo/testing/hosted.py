"""Loaders for engine processes in tests: the model without weights, and devices that misbehave.

A loader is named as `octavo.testing.hosted:load_null`. Its model's folder is `null_folder`: a
tokenizer of bytes, and as much of a checkpoint as it takes to be found.

Knows nothing of processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from octavo.config import Settings
from octavo.engine import Engine
from octavo.errors import ModelError
from octavo.heart import heart
from octavo.scheduler import Limits
from octavo.testing.loaded import (
    CHAT_TEMPLATE,
    VOCAB_SIZE,
    NullLoaded,
    byte_backend,
    null_limits,
)
from octavo.testing.null import NullPending, NullProgram
from octavo.testing.sick import Sick
from octavo_platforms.inputs import StepInputs

RAISES, HANGS, EXITS = 1, 2, 3
"""First tokens of a prompt that make the troubled device raise, hang, or take its process down."""

LONG = 100_000
SIZED_TOKENS, SIZED_BLOCK_BYTES = 64, 16
"""The longest context of what `load_sized` loads, and the bytes of a block of its cache."""
HOLD = "hold"
"""A file in a model's folder; while it is there, loading does not end."""
_SLOW_S = 0.02
_HANG_S = 3600.0

Report = Callable[[str], None]


def null_folder(folder: Path) -> str:
    """Write a folder that the loaders below take for a model, and give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": CHAT_TEMPLATE}
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text(byte_backend().to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return str(folder)


def load_null(settings: Settings, *, report: Report) -> NullLoaded:
    """Load the model without weights, with a context longer than any test."""
    return _loaded(settings, report, lambda inputs: None)


def load_sized(settings: Settings, *, report: Report) -> NullLoaded:
    """Load it small, with the sizes that are asked for, on a device whose numbers may break.

    Its cache keeps a number of four bytes for each token.
    """
    assert settings.max_requests is not None, "sizes are asked for"
    assert settings.kv_cache_bytes is not None, "sizes are asked for"
    limits = Limits(
        max_context_tokens=SIZED_TOKENS,
        num_blocks=1 + settings.kv_cache_bytes // SIZED_BLOCK_BYTES,
        block_size=SIZED_BLOCK_BYTES // 4,
        max_requests=settings.max_requests,
        max_step_tokens=settings.max_step_tokens or SIZED_TOKENS,
        vocab_size=VOCAB_SIZE,
        prefix_caching=settings.prefix_caching,
    )
    engine = heart(Sick(limits), limits).engine(max_in_flight=settings.max_in_flight or 1)
    return NullLoaded(engine=engine, max_context_tokens=SIZED_TOKENS, source=settings.model or "")


def load_slow(settings: Settings, *, report: Report) -> NullLoaded:
    """Load it on a device that takes 20 ms for a step."""
    return _loaded(settings, report, lambda inputs: time.sleep(_SLOW_S))


def load_troubled(settings: Settings, *, report: Report) -> NullLoaded:
    """Load it on a slow device that does as a prompt's first token says."""
    return _loaded(settings, report, _trouble)


def refuse(settings: Settings, *, report: Report) -> NullLoaded:
    """Say a stage and fail, as a model does whose files are bad."""
    report("reading nothing")
    raise ModelError(f"{settings.model} is no model at all. Give another one.")


class _Device(NullProgram):
    """The model without weights on a device that does something else first."""

    first: Callable[[StepInputs], None]

    def launch(self, inputs: StepInputs) -> NullPending:
        """Do that, then run the entry."""
        self.first(inputs)
        return super().launch(inputs)


def _loaded(settings: Settings, report: Report, first: Callable[[StepInputs], None]) -> NullLoaded:
    report("reading 0 bytes of weights")
    while settings.model is not None and (Path(settings.model) / HOLD).exists():
        time.sleep(_SLOW_S)
    limits = null_limits(max_context_tokens=LONG, max_requests=settings.max_requests or 8)
    program = _Device(limits)
    program.first = first
    engine: Engine = heart(program, limits).engine()
    return NullLoaded(engine=engine, max_context_tokens=LONG, source=settings.model or "")


def _trouble(inputs: StepInputs) -> None:
    time.sleep(_SLOW_S)
    starts = inputs.query_starts[:-1][inputs.computed == 0]
    for token in inputs.token_ids[starts].tolist():
        if token == RAISES:
            raise RuntimeError("the device is on fire")
        if token == HANGS:
            time.sleep(_HANG_S)
        if token == EXITS:
            os._exit(7)
