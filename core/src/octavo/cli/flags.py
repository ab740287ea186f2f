"""The flags that every command with a model shares, and the settings they make.

Names are those that users of other servers know. Does not know what a setting does.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from octavo.config import ITEM_BYTES, Settings, from_environment, parse_bytes
from octavo.errors import OperatorError


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the model, the device and the limits to a parser."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder with config.json, a .gguf file, or the name of a downloaded model; "
        "without it, a small demo model",
    )
    device = parser.add_argument_group("device")
    device.add_argument(
        "--device", metavar="NAME[:MODE]", help="platform to run on (default: the best one found)"
    )
    device.add_argument(
        "--devices", metavar="0,1", type=_indices, help="which of its devices (default: all needed)"
    )
    device.add_argument(
        "--dtype",
        choices=["auto", *ITEM_BYTES],
        default="auto",
        help="what to compute in (default: auto, as the checkpoint where the platform can)",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-model-len", metavar="TOKENS", type=int, help="longest context, prompt and output"
    )
    limits.add_argument(
        "--max-num-seqs", metavar="REQUESTS", type=int, help="requests that may run at once"
    )
    limits.add_argument(
        "--max-num-batched-tokens", metavar="TOKENS", type=int, help="tokens in one step"
    )
    cache = parser.add_argument_group("cache")
    cache.add_argument("--block-size", metavar="TOKENS", type=int, help="positions in a KV block")
    cache.add_argument(
        "--kv-cache-memory-bytes", metavar="BYTES", type=_bytes, help="KV cache, as 512m or 4g"
    )
    cache.add_argument(
        "--enable-prefix-caching",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="share the blocks of equal prompt beginnings (default: on)",
    )
    parser.add_argument_group("sampling").add_argument(
        "--seed", metavar="N", type=int, default=0, help="where seeds of requests come from"
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """Make the settings that the environment and the model flags ask for."""
    return replace(
        from_environment(),
        model=args.model,
        device=args.device,
        devices=args.devices,
        dtype=args.dtype,
        max_context_tokens=args.max_model_len,
        max_requests=args.max_num_seqs,
        max_step_tokens=args.max_num_batched_tokens,
        block_size=args.block_size,
        kv_cache_bytes=args.kv_cache_memory_bytes,
        prefix_caching=args.enable_prefix_caching,
        seed=args.seed,
    )


def _indices(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list such as 0,1") from None


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except OperatorError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
