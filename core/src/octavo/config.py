"""What whoever starts Octavo wants.

`Settings` are wishes, read once and frozen: from the environment here, from flags or keyword
arguments by their callers. `resolved` makes of them what the engine runs with. This file alone
reads environment variables.

Does not know the command line, any model or platform.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from octavo.errors import OperatorError

ITEM_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number, by the name of its dtype."""

DEFAULT_BLOCK_SIZE = 16
DEFAULT_QUEUED_REQUESTS = 4096
DEFAULT_ENGINE_TIMEOUT_S = 300.0
DEFAULT_RESTARTS = 5
DEFAULT_SHUTDOWN_TIMEOUT_S = 20.0
DEFAULT_LOGPROBS = 20
ALL_LOGPROBS = -1
PolicyName = Literal["fcfs", "priority"]
POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
"""Whose turn comes first: who came first, or the lowest priority number."""
ContentFormat = Literal["auto", "string", "openai"]
CONTENT_FORMATS: tuple[ContentFormat, ...] = get_args(ContentFormat)
"""How a chat template gets a message's content: as it takes it, as a text, or as parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was asked for; None leaves the choice to `resolve`.

    Units: as names end: `_tokens`, `_bytes`, `_s` for seconds. None of the queue's two limits is
        no limit; `max_logprobs` counts the likeliest ids that are told of a token, -1 is all;
        `long_prefill_tokens` are those of one prompt in a step, 0 is no limit;
        `prefill_interval` counts steps; `watermark` is a share of the cache's blocks.
        `chat_template` is a template's text, or the name of one of the model's, and
        `chat_template_kwargs` are what it is told by requests that say nothing of that.
    """

    cache_dir: Path
    hub_dir: Path
    model: str | None = None
    served_model_name: str | None = None
    revision: str | None = None
    load_format: str = "auto"
    quantization: str | None = None
    device: str | None = None
    devices: tuple[int, ...] | None = None
    dtype: str = "auto"
    max_context_tokens: int | None = None
    max_requests: int | None = None
    max_step_tokens: int | None = None
    block_size: int | None = None
    max_in_flight: int | None = None
    kv_cache_bytes: int | None = None
    prefix_caching: bool = True
    scheduling_policy: PolicyName = "fcfs"
    chunked_prefill: bool = True
    long_prefill_tokens: int = 0
    prefill_interval: int = 1
    watermark: float = 0.0
    batch_invariant: bool = False
    max_logprobs: int = DEFAULT_LOGPROBS
    seed: int = 0
    chat_template: str | None = None
    chat_template_content_format: ContentFormat = "auto"
    chat_template_kwargs: Mapping[str, object] = field(default_factory=dict)
    trust_request_chat_template: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    api_processes: int = 1
    max_queued_requests: int | None = DEFAULT_QUEUED_REQUESTS
    max_queued_tokens: int | None = None
    engine_timeout_s: float = DEFAULT_ENGINE_TIMEOUT_S
    max_restarts: int = DEFAULT_RESTARTS
    shutdown_timeout_s: float = DEFAULT_SHUTDOWN_TIMEOUT_S

    def __post_init__(self) -> None:
        if self.dtype != "auto" and self.dtype not in ITEM_BYTES:
            names = ", ".join(["auto", *ITEM_BYTES])
            raise OperatorError(f"The dtype '{self.dtype}' is not known. Choose one of: {names}.")
        counts = (
            ("--max-model-len", self.max_context_tokens),
            ("--max-num-seqs", self.max_requests),
            ("--max-num-batched-tokens", self.max_step_tokens),
            ("--block-size", self.block_size),
            ("--max-in-flight", self.max_in_flight),
            ("--kv-cache-memory-bytes", self.kv_cache_bytes),
            ("--api-processes", self.api_processes),
            ("--prefill-schedule-interval", self.prefill_interval),
        )
        for flag, count in counts:
            if count is not None and count < 1:
                raise OperatorError(f"{flag} is {count}, but must be at least 1.")
        amounts = (
            ("--max-num-queued-reqs", self.max_queued_requests),
            ("--max-num-queued-tokens", self.max_queued_tokens),
            ("--max-restarts", self.max_restarts),
            ("--shutdown-timeout", self.shutdown_timeout_s),
            ("--long-prefill-token-threshold", self.long_prefill_tokens),
            ("--watermark", self.watermark),
        )
        for flag, amount in amounts:
            if amount is not None and not amount >= 0:
                raise OperatorError(f"{flag} is {amount}, but must be at least 0.")
        self._check_scheduling()
        if self.chat_template_content_format not in CONTENT_FORMATS:
            raise OperatorError(
                f"--chat-template-content-format is '{self.chat_template_content_format}'. Choose "
                f"one of: {', '.join(CONTENT_FORMATS)}."
            )
        if self.max_logprobs < ALL_LOGPROBS:
            raise OperatorError(
                f"--max-logprobs is {self.max_logprobs}, but must be at least 0, or -1 for all ids."
            )
        if not self.engine_timeout_s > 0:
            raise OperatorError(
                f"--engine-timeout is {self.engine_timeout_s}, but must be more than 0 seconds."
            )
        if not 0 <= self.port <= 65535:
            raise OperatorError(f"--port is {self.port}, but ports go from 0 (any) to 65535.")

    def _check_scheduling(self) -> None:
        if self.scheduling_policy not in POLICIES:
            raise OperatorError(
                f"--scheduling-policy is '{self.scheduling_policy}'. Choose one of: "
                f"{', '.join(POLICIES)}."
            )
        if self.watermark >= 1:
            raise OperatorError(
                f"--watermark is {self.watermark}, but is a share of the cache: give less than 1."
            )
        if self.long_prefill_tokens and not self.chunked_prefill:
            raise OperatorError(
                "--long-prefill-token-threshold cuts prompts into parts, and "
                "--no-enable-chunked-prefill forbids it. Leave one of them out."
            )


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Make the settings that the environment alone asks for.

    Effects: reads OCTAVO_HOME, OCTAVO_API_KEY, HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME of the
        process where no mapping is given.
    """
    variables = os.environ if environ is None else environ

    def folder(name: str, default: Path) -> Path:
        return Path(variables.get(name) or default).expanduser()

    caches = folder("XDG_CACHE_HOME", Path("~/.cache"))
    return Settings(
        cache_dir=folder("OCTAVO_HOME", caches / "octavo"),
        hub_dir=folder("HF_HUB_CACHE", folder("HF_HOME", caches / "huggingface") / "hub"),
        api_key=variables.get("OCTAVO_API_KEY") or None,
    )
