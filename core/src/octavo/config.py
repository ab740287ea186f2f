"""What whoever starts Octavo wants, and what that becomes on one model and one platform.

`Settings` are wishes, read once and frozen: from the environment here, from flags or keyword
arguments by their callers. `resolve` puts facts of the model and of the platform beside them
and makes the numbers the engine runs with; each number can say why it is what it is, under
`Resolved.why`. This file alone reads environment variables.

Does not know the command line, any platform, or how a model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from octavo.errors import FitError, OperatorError

ITEM_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number, by the name of its dtype."""

DEFAULT_HOST_KV_BYTES = 4 << 30
DEFAULT_REQUESTS = 256
DEFAULT_STEP_TOKENS = 2048
DEFAULT_BLOCK_SIZE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was asked for; None leaves the choice to `resolve`.

    Units: tokens where a name ends in `_tokens`, bytes where it ends in `_bytes`.
    """

    cache_dir: Path
    hub_dir: Path
    model: str | None = None
    served_model_name: str | None = None
    device: str | None = None
    devices: tuple[int, ...] | None = None
    dtype: str = "auto"
    max_context_tokens: int | None = None
    max_requests: int | None = None
    max_step_tokens: int | None = None
    block_size: int | None = None
    kv_cache_bytes: int | None = None
    prefix_caching: bool = True
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None

    def __post_init__(self) -> None:
        if self.dtype != "auto" and self.dtype not in ITEM_BYTES:
            names = ", ".join(["auto", *ITEM_BYTES])
            raise OperatorError(f"The dtype '{self.dtype}' is not known. Choose one of: {names}.")
        counts = (
            ("--max-model-len", self.max_context_tokens),
            ("--max-num-seqs", self.max_requests),
            ("--max-num-batched-tokens", self.max_step_tokens),
            ("--block-size", self.block_size),
            ("--kv-cache-memory-bytes", self.kv_cache_bytes),
        )
        for flag, count in counts:
            if count is not None and count < 1:
                raise OperatorError(f"{flag} is {count}, but must be at least 1.")
        if not 0 <= self.port <= 65535:
            raise OperatorError(f"--port is {self.port}, but ports go from 0 (any) to 65535.")


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


def parse_bytes(text: str) -> int:
    """Read a number of bytes such as `1g`, `512m`, `1.5GiB` or `4096`; letters are powers of 1024.

    Raises: OperatorError where the text is no such number.
    """
    stem = text.strip().lower().removesuffix("b").removesuffix("i")
    power = " kmgt".find(stem[-1:]) if stem[-1:].isalpha() else 0
    digits = stem[:-1] if power else stem
    try:
        if power < 0:
            raise ValueError(stem)
        count = int(float(digits) * 1024**power)
    except (ValueError, OverflowError):
        raise OperatorError(
            f"'{text}' is not a size in bytes. Write it as 1073741824, 512m or 1g."
        ) from None
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What `resolve` must know of a checkpoint.

    Units: `kv_numbers` of one position over all layers; `num_weights` numbers, not bytes.
    """

    dtype: str
    max_context_tokens: int
    kv_numbers: int
    num_weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """What `resolve` must know of a platform and the devices that were opened.

    Units: `free_bytes` before the weights are placed, None where the platform cannot tell.
    `dtypes` are those it can compute in, the preferred first; `shares_host_memory` says that
    the rest of the machine lives in the same memory.
    """

    name: str
    dtypes: Sequence[str]
    free_bytes: int | None
    shares_host_memory: bool
    block_size: int = DEFAULT_BLOCK_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What the engine runs with, and why, by field name. `num_blocks` leaves out the null block."""

    dtype: str
    max_context_tokens: int
    max_requests: int
    max_step_tokens: int
    block_size: int
    num_blocks: int
    kv_cache_bytes: int
    why: Mapping[str, str]


def resolve(settings: Settings, model: ModelFacts, platform: PlatformFacts) -> Resolved:
    """Turn wishes into numbers that fit this model on this platform.

    Raises: FitError where what was asked for cannot fit; OperatorError where a wish contradicts
        a fact. Each says a value that would work.
    """
    why: dict[str, str] = {}
    dtype = _dtype(settings, model, platform, why)
    block_size = _chosen(settings.block_size, platform.block_size, "block_size", why)
    max_requests = _chosen(settings.max_requests, DEFAULT_REQUESTS, "max_requests", why)
    step_tokens = _chosen(settings.max_step_tokens, DEFAULT_STEP_TOKENS, "max_step_tokens", why)
    if step_tokens < max_requests:
        if settings.max_step_tokens is not None and settings.max_requests is not None:
            raise OperatorError(
                f"--max-num-batched-tokens is {step_tokens}, but --max-num-seqs is {max_requests}, "
                "and each running request needs a token in a step. Lower the second to the first."
            )
        if settings.max_step_tokens is not None:
            max_requests = step_tokens
            why["max_requests"] = "no more than the tokens of a step"
        else:
            step_tokens = max_requests
            why["max_step_tokens"] = "a token for each request that may run"

    longest = _longest(settings, model)
    block_bytes = model.kv_numbers * ITEM_BYTES[dtype] * block_size
    wanted_blocks = max_requests * -(-longest // block_size)
    kv_bytes = _kv_bytes(settings, model, platform, dtype, wanted_blocks * block_bytes, why)
    num_blocks = min(kv_bytes // block_bytes, wanted_blocks)
    max_context = _context(settings, model, longest, num_blocks * block_size, why)
    if num_blocks < 1:
        raise FitError(
            f"One block of {block_size} tokens needs {show_bytes(block_bytes)} of cache, but "
            f"only {show_bytes(kv_bytes)} may be used. Give at least "
            f"--kv-cache-memory-bytes {block_bytes}."
        )
    return Resolved(
        dtype=dtype,
        max_context_tokens=max_context,
        max_requests=max_requests,
        max_step_tokens=step_tokens,
        block_size=block_size,
        num_blocks=num_blocks,
        kv_cache_bytes=num_blocks * block_bytes,
        why=why,
    )


def show_bytes(count: int) -> str:
    """Write a number of bytes for people: `640 KiB`, `1.5 GiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def _chosen(asked: int | None, default: int, name: str, why: dict[str, str]) -> int:
    why[name] = "as asked" if asked is not None else "the default"
    return default if asked is None else asked


def _dtype(
    settings: Settings, model: ModelFacts, platform: PlatformFacts, why: dict[str, str]
) -> str:
    if settings.dtype != "auto":
        if settings.dtype not in platform.dtypes:
            raise OperatorError(
                f"The platform '{platform.name}' cannot compute in {settings.dtype}. "
                f"Choose --dtype from: auto, {', '.join(platform.dtypes)}."
            )
        why["dtype"] = "as asked"
        return settings.dtype
    if model.dtype in platform.dtypes:
        why["dtype"] = "as the checkpoint"
        return model.dtype
    why["dtype"] = f"'{platform.name}' prefers it, and cannot compute in {model.dtype}"
    return platform.dtypes[0]


def _longest(settings: Settings, model: ModelFacts) -> int:
    asked = settings.max_context_tokens
    if asked is not None and asked > model.max_context_tokens:
        raise OperatorError(
            f"--max-model-len is {asked}, but the model was made for at most "
            f"{model.max_context_tokens} tokens. Give that number or a smaller one."
        )
    return asked or model.max_context_tokens


def _kv_bytes(
    settings: Settings,
    model: ModelFacts,
    platform: PlatformFacts,
    dtype: str,
    wanted_bytes: int,
    why: dict[str, str],
) -> int:
    weight_bytes = model.num_weights * ITEM_BYTES[dtype]
    free = None if platform.free_bytes is None else platform.free_bytes - weight_bytes
    if free is not None and free <= 0:
        raise FitError(
            f"The weights need {show_bytes(weight_bytes)} in {dtype}, but '{platform.name}' has "
            f"{show_bytes(platform.free_bytes or 0)} free. Use a smaller model or dtype."
        )
    asked = settings.kv_cache_bytes
    if asked is not None:
        if free is not None and asked > free:
            raise FitError(
                f"--kv-cache-memory-bytes is {show_bytes(asked)}, but after the weights "
                f"{show_bytes(free)} are free. Give at most {free}."
            )
        why["num_blocks"] = f"{show_bytes(asked)} of cache, as asked"
        return asked
    reasons = [(wanted_bytes, "every request can have its whole context")]
    if free is not None:
        percent = 50 if platform.shares_host_memory else 90
        share = free * percent // 100
        reasons.append((share, f"{percent} % of the memory that is free after the weights"))
    if platform.shares_host_memory:
        cap = f"{show_bytes(DEFAULT_HOST_KV_BYTES)}, the default where memory is shared"
        reasons.append((DEFAULT_HOST_KV_BYTES, cap))
    size, reason = min(reasons)
    why["num_blocks"] = reason
    return size


def _context(
    settings: Settings, model: ModelFacts, longest: int, slots: int, why: dict[str, str]
) -> int:
    if longest <= slots:
        asked = settings.max_context_tokens is not None
        why["max_context_tokens"] = "as asked" if asked else "as the model"
        return longest
    if settings.max_context_tokens is not None:
        raise FitError(
            f"--max-model-len is {longest}, but the cache holds {slots} tokens. "
            f"Give --max-model-len {slots} or a larger --kv-cache-memory-bytes."
        )
    why["max_context_tokens"] = f"all that the cache holds; the model could {longest}"
    return slots
