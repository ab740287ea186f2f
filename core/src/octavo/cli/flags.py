"""The flags that every command with a model shares, and the settings they make.

Names are those that users of other servers know. Does not know what a setting does.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from octavo.amounts import parse_bytes
from octavo.config import (
    CONTENT_FORMATS,
    DEFAULT_LOGPROBS,
    ITEM_BYTES,
    POLICIES,
    Settings,
    from_environment,
)
from octavo.errors import ModelError, OperatorError


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the model, the device and the limits to a parser."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder with config.json, a .gguf file, or the name of a downloaded model; "
        "without it, a small demo model",
    )
    _add_weight_flags(parser.add_argument_group("weights"))
    _add_device_flags(parser.add_argument_group("device"))
    _add_limits(parser.add_argument_group("limits"))
    _add_scheduling(parser.add_argument_group("scheduling"))
    _add_cache_flags(parser.add_argument_group("cache"))
    _add_sampling_flags(parser.add_argument_group("sampling"))


def add_chat_flags(parser: argparse.ArgumentParser) -> None:
    """Add how conversations become text."""
    chat = parser.add_argument_group("chat template")
    chat.add_argument(
        "--chat-template",
        metavar="FILE|TEXT",
        type=_template,
        help="a Jinja file or text, or the name of one of the model's templates "
        "(default: the model's own)",
    )
    chat.add_argument(
        "--chat-template-content-format",
        choices=CONTENT_FORMATS,
        default=CONTENT_FORMATS[0],
        help="what the template gets as content: one text, or OpenAI's list of parts "
        "(default: auto, as the template takes it)",
    )
    chat.add_argument(
        "--default-chat-template-kwargs",
        metavar="JSON",
        type=_json_object,
        default={},
        help='what the template is told where a request says nothing: {"enable_thinking": false}',
    )


def chat_settings_of(args: argparse.Namespace) -> Settings:
    """Make the settings that the environment, the model flags and the chat flags ask for."""
    return replace(
        settings_of(args),
        chat_template=args.chat_template,
        chat_template_content_format=args.chat_template_content_format,
        chat_template_kwargs=args.default_chat_template_kwargs,
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """Make the settings that the environment and the model flags ask for."""
    return replace(
        from_environment(),
        model=args.model,
        revision=args.revision,
        load_format=args.load_format,
        quantization=args.quantization,
        device=args.device,
        devices=args.devices,
        dtype=args.dtype,
        max_context_tokens=args.max_model_len,
        max_requests=args.max_num_seqs,
        max_step_tokens=args.max_num_batched_tokens,
        block_size=args.block_size,
        max_in_flight=args.max_in_flight,
        kv_cache_bytes=args.kv_cache_memory_bytes,
        prefix_caching=args.enable_prefix_caching,
        scheduling_policy=args.scheduling_policy,
        chunked_prefill=args.enable_chunked_prefill,
        long_prefill_tokens=args.long_prefill_token_threshold,
        prefill_interval=args.prefill_schedule_interval,
        watermark=args.watermark,
        batch_invariant=args.batch_invariant,
        max_logprobs=args.max_logprobs,
        seed=args.seed,
    )


def _add_weight_flags(weights: argparse._ArgumentGroup) -> None:
    weights.add_argument(
        "--revision", metavar="REV", help="branch, tag or commit of a downloaded model"
    )
    weights.add_argument(
        "--load-format",
        metavar="auto|dummy",
        default="auto",
        help="dummy draws weights from the seed and reads none (default: auto)",
    )
    weights.add_argument(
        "--quantization",
        "-q",
        metavar="int8|int4|fp8",
        help="round the weights of linear layers as this format would when they are placed; they "
        "take as much memory as before (default: as the checkpoint)",
    )


def _add_device_flags(device: argparse._ArgumentGroup) -> None:
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
    device.add_argument(
        "--batch-invariant",
        action="store_true",
        help="give a request the same bits whatever else runs; slower (default: off)",
    )


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    limits.add_argument(
        "--max-model-len", metavar="TOKENS", type=int, help="longest context, prompt and output"
    )
    limits.add_argument(
        "--max-num-seqs", metavar="REQUESTS", type=int, help="requests that may run at once"
    )
    limits.add_argument(
        "--max-num-batched-tokens", metavar="TOKENS", type=int, help="tokens in one step"
    )
    limits.add_argument(
        "--max-in-flight",
        metavar="STEPS",
        type=int,
        help="steps launched and not read: 1 waits for each (default: what the device takes, or 2)",
    )


def _add_scheduling(scheduling: argparse._ArgumentGroup) -> None:
    scheduling.add_argument(
        "--scheduling-policy",
        choices=POLICIES,
        default=POLICIES[0],
        help="whose turn is first: who came first, or the lowest priority (default: fcfs)",
    )
    scheduling.add_argument(
        "--enable-chunked-prefill",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute long prompts in parts, beside other requests (default: on)",
    )
    scheduling.add_argument(
        "--long-prefill-token-threshold",
        metavar="TOKENS",
        type=int,
        default=0,
        help="most tokens of one prompt in a step, so that others share it (default: 0, no limit)",
    )
    scheduling.add_argument(
        "--prefill-schedule-interval",
        metavar="N",
        type=int,
        default=1,
        help="while others run, compute prompts in every nth step only (default: 1)",
    )
    scheduling.add_argument(
        "--watermark",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="share of the cache that stays free when a request begins (default: 0, what those "
        "who run may want soon)",
    )


def _add_cache_flags(cache: argparse._ArgumentGroup) -> None:
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


def _add_sampling_flags(sampling: argparse._ArgumentGroup) -> None:
    sampling.add_argument(
        "--seed", metavar="N", type=int, default=0, help="where seeds of requests come from"
    )
    sampling.add_argument(
        "--max-logprobs",
        metavar="N",
        type=int,
        default=DEFAULT_LOGPROBS,
        help=f"likeliest ids told of a token, -1 for all (default: {DEFAULT_LOGPROBS})",
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


def _json_object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"'{text}' is no JSON object")
    return found


def _template(given: str) -> str:
    """Give a template's text, which is Jinja, or the name of one, which only the model knows."""
    text, path = given, Path(given).expanduser()
    if "{" not in given and "\n" not in given:
        if not path.is_file() and not path.suffix and len(path.parts) == 1:
            return given
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise argparse.ArgumentTypeError(
                f"there is no file '{given}', and it is no Jinja text, which has braces"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(f"'{given}' cannot be read: {error}") from None
    from octavo.chat.template import ChatTemplate  # only who brings a template needs Jinja

    try:
        ChatTemplate(text, {})
    except ModelError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
