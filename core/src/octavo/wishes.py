"""What a Python program may wish for, by the names that it is used to, as settings.

Does not know what becomes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from octavo.config import (
    DEFAULT_LOGPROBS,
    ContentFormat,
    PolicyName,
    Settings,
    from_environment,
)


class Wishes(TypedDict, total=False):
    """Keyword arguments of `LLM` and `AsyncLLM`; what is left out is chosen.

    Units: tokens for lengths and `block_size`; requests for `max_num_seqs`; bytes.
    """

    revision: str | None
    load_format: str
    quantization: str | None
    device: str | None
    devices: Sequence[int] | None
    dtype: str
    max_model_len: int | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    block_size: int | None
    max_in_flight: int | None
    kv_cache_memory_bytes: int | None
    enable_prefix_caching: bool
    scheduling_policy: PolicyName
    enable_chunked_prefill: bool
    long_prefill_token_threshold: int
    prefill_schedule_interval: int
    watermark: float
    batch_invariant: bool
    max_logprobs: int
    seed: int
    chat_template: str | None
    chat_template_content_format: ContentFormat
    default_chat_template_kwargs: Mapping[str, object]


def settings_of(model: str | None, **wishes: Unpack[Wishes]) -> Settings:
    """Make the settings that the environment and a program ask for.

    Raises: OperatorError for a wish that can never be met.
    """
    devices = wishes.get("devices")
    return replace(
        from_environment(),
        model=model,
        revision=wishes.get("revision"),
        load_format=wishes.get("load_format", "auto"),
        quantization=wishes.get("quantization"),
        device=wishes.get("device"),
        devices=None if devices is None else tuple(devices),
        dtype=wishes.get("dtype", "auto"),
        max_context_tokens=wishes.get("max_model_len"),
        max_requests=wishes.get("max_num_seqs"),
        max_step_tokens=wishes.get("max_num_batched_tokens"),
        block_size=wishes.get("block_size"),
        max_in_flight=wishes.get("max_in_flight"),
        kv_cache_bytes=wishes.get("kv_cache_memory_bytes"),
        prefix_caching=wishes.get("enable_prefix_caching", True),
        scheduling_policy=wishes.get("scheduling_policy", "fcfs"),
        chunked_prefill=wishes.get("enable_chunked_prefill", True),
        long_prefill_tokens=wishes.get("long_prefill_token_threshold", 0),
        prefill_interval=wishes.get("prefill_schedule_interval", 1),
        watermark=wishes.get("watermark", 0.0),
        batch_invariant=wishes.get("batch_invariant", False),
        max_logprobs=wishes.get("max_logprobs", DEFAULT_LOGPROBS),
        seed=wishes.get("seed", 0),
        chat_template=wishes.get("chat_template"),
        chat_template_content_format=wishes.get("chat_template_content_format", "auto"),
        chat_template_kwargs=wishes.get("default_chat_template_kwargs", {}),
    )
