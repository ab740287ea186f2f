"""What wishes become on one model and one platform: the numbers the engine runs with.

`resolve` puts facts of the model and of the platform beside the settings; each number can say why
it is what it is, under `Resolved.why`.

Does not know how a model is loaded, nor any platform by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from octavo.amounts import show_bytes
from octavo.config import DEFAULT_BLOCK_SIZE, ITEM_BYTES, Settings
from octavo.errors import FitError, OperatorError
from octavo.fit import Costs, Demand, Shares, Window

DEFAULT_HOST_KV_BYTES = 4 << 30
DEFAULT_REQUESTS = 256
DEFAULT_STEP_TOKENS = 2048
DEFAULT_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What `resolve` must know of a checkpoint.

    Units: `kv_numbers` of one position over all layers that see everything; `num_weights`
    numbers, not bytes; `seat_bytes` are what a request that runs keeps beside its positions, at
    most, and `snapshot_bytes` what it takes to keep that for others. With `whole_prompts` a prompt
    has to be in one step.
    """

    dtype: str
    max_context_tokens: int
    kv_numbers: int
    num_weights: int
    seat_bytes: int = 0
    snapshot_bytes: int = 0
    windows: Sequence[Window] = ()
    whole_prompts: bool = False


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
    max_in_flight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What the engine runs with, and why, by field name.

    Units: `num_blocks` (None without any) and `window_blocks` leave out null blocks; `num_at_once`
    requests of `max_context_tokens` fit at the same time.
    """

    dtype: str
    max_context_tokens: int
    max_requests: int
    max_step_tokens: int
    block_size: int
    num_blocks: int | None
    window_blocks: Mapping[str, int]
    num_snapshots: int
    kv_cache_bytes: int
    num_at_once: int
    max_in_flight: int
    why: Mapping[str, str]


def resolve(settings: Settings, model: ModelFacts, platform: PlatformFacts) -> Resolved:
    """Turn wishes into numbers that fit this model on this platform.

    Raises: FitError where what was asked for cannot fit; OperatorError where a wish contradicts
        a fact. Each says a value that would work.
    """
    why: dict[str, str] = {}
    settings, reasons = _with_whole_prompts(settings, model)
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
    costs = _costs(settings, model, block_size * ITEM_BYTES[dtype], block_size)
    demand = Demand(num_requests=max_requests, context_tokens=longest, step_tokens=step_tokens)
    wanted, own_bytes = costs.wanted(demand), max_requests * model.seat_bytes
    kv_bytes = _kv_bytes(settings, model, platform, dtype, wanted, why, own_bytes=own_bytes)
    shares = costs.split(kv_bytes, demand)
    if 0 in (shares.num_blocks, *shares.windows.values()):
        least = costs.least(demand, num_tokens=block_size)
        raise FitError(
            f"One block of {block_size} tokens needs {show_bytes(least)} of cache, but "
            f"only {show_bytes(kv_bytes)} may be used. Give at least "
            f"--kv-cache-memory-bytes {least}."
        )
    slots = longest if shares.num_blocks is None else shares.num_blocks * block_size
    enough = costs.least(demand, num_tokens=longest)
    max_context = _context(settings, longest, slots, why, enough_bytes=enough)
    demand = replace(demand, context_tokens=max_context)
    _check_windows(costs, shares, demand)
    return Resolved(
        dtype=dtype,
        max_context_tokens=max_context,
        max_requests=max_requests,
        max_step_tokens=step_tokens,
        block_size=block_size,
        num_blocks=shares.num_blocks,
        window_blocks=shares.windows,
        num_snapshots=shares.num_snapshots,
        kv_cache_bytes=shares.num_bytes,
        num_at_once=costs.num_at_once(shares, demand),
        max_in_flight=_in_flight(settings, platform, why),
        why={**why, **reasons},
    )


def _with_whole_prompts(
    settings: Settings, model: ModelFacts
) -> tuple[Settings, Mapping[str, str]]:
    """Let a step hold the longest prompt, where prompts are not cut; give also why, by name."""
    if not model.whole_prompts:
        return settings, {}
    longest, step = _longest(settings, model), settings.max_step_tokens
    if step is None:
        step = max(DEFAULT_STEP_TOKENS, longest, settings.max_requests or 0)
        reason = "the default" if step == DEFAULT_STEP_TOKENS else "enough for the longest prompt"
        return replace(settings, max_step_tokens=step), {"max_step_tokens": reason}
    if step >= longest:
        return settings, {}
    if settings.max_context_tokens is not None:
        raise OperatorError(
            f"--max-num-batched-tokens is {step}, but --max-model-len is {longest}, and this model "
            "reads a prompt as a whole. Raise the first or lower the second."
        )
    return replace(settings, max_context_tokens=step), {
        "max_context_tokens": "no more than the tokens of a step"
    }


def _check_windows(costs: Costs, shares: Shares, demand: Demand) -> None:
    if not costs.has_room(shares, demand):
        enough = costs.least(demand, num_tokens=demand.context_tokens)
        raise FitError(
            f"Layers that see a window need room for it and for a step of {demand.step_tokens} "
            f"tokens, and {show_bytes(shares.num_bytes)} of cache are too few. Give a smaller "
            f"--max-num-batched-tokens or --kv-cache-memory-bytes {enough}."
        )


def _costs(settings: Settings, model: ModelFacts, slots_bytes: int, block_size: int) -> Costs:
    """Give what blocks and snapshots cost. Units: `slots_bytes` of one number of each slot."""
    return Costs(
        block_size=block_size,
        block_bytes=model.kv_numbers * slots_bytes,
        windows=[(window, window.numbers * slots_bytes) for window in model.windows],
        snapshot_bytes=model.snapshot_bytes if settings.prefix_caching else 0,
    )


def _chosen(asked: int | None, default: int, name: str, why: dict[str, str]) -> int:
    why[name] = "as asked" if asked is not None else "the default"
    return default if asked is None else asked


def _in_flight(settings: Settings, platform: PlatformFacts, why: dict[str, str]) -> int:
    asked, offered = settings.max_in_flight, platform.max_in_flight
    if asked is not None and asked > offered:
        raise OperatorError(
            f"--max-in-flight is {asked}, but '{platform.name}' takes {offered} steps at once. "
            f"Give at most {offered}."
        )
    most = min(DEFAULT_IN_FLIGHT, offered)
    default = "the default" if most < offered else f"all that '{platform.name}' takes"
    why["max_in_flight"] = "as asked" if asked is not None else default
    return most if asked is None else asked


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
    *,
    own_bytes: int,
) -> int:
    weight_bytes = model.num_weights * ITEM_BYTES[dtype]
    taken = weight_bytes + own_bytes
    free = None if platform.free_bytes is None else platform.free_bytes - taken
    if free is not None and free <= 0:
        beside = f", and what requests keep {show_bytes(own_bytes)}" if own_bytes else ""
        fewer = ", or give a smaller --max-num-seqs" if own_bytes else ""
        raise FitError(
            f"The weights need {show_bytes(weight_bytes)} in {dtype}{beside}, but "
            f"'{platform.name}' has {show_bytes(platform.free_bytes or 0)} free. Use a smaller "
            f"model or dtype{fewer}."
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
    settings: Settings, longest: int, slots: int, why: dict[str, str], *, enough_bytes: int
) -> int:
    if longest <= slots:
        asked = settings.max_context_tokens is not None
        why["max_context_tokens"] = "as asked" if asked else "as the model"
        return longest
    if settings.max_context_tokens is not None:
        raise FitError(
            f"--max-model-len is {longest}, but the cache holds {slots} tokens. "
            f"Give --max-model-len {slots} or --kv-cache-memory-bytes {enough_bytes}."
        )
    why["max_context_tokens"] = f"all that the cache holds; the model could {longest}"
    return slots
