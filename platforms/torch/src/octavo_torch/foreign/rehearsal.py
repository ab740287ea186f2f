"""The rehearsal: one forward pass of a module that has shapes and no weights.

It tells what the engine must know before a weight is read: how often and in which shapes the
module attends, and how many weights it has. Whatever it asks of attention that ours does not
do is refused by name, because a model that runs without it gives plausible, wrong text.

Knows nothing of launches.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from octavo_platforms.foreign import ForeignAttention
from octavo_torch.foreign.attention import KEYWORD, REHEARSED, Asked, NotCausal, register
from octavo_torch.foreign.find import Architecture
from octavo_torch.foreign.refused import Refused

NUM_TOKENS, NUM_ROWS = 5, 2
# What calls of attention carry along and ours need not know.
HARMLESS = frozenset(
    "cache_position dropout logits_to_keep output_attentions output_hidden_states "
    "output_router_logits position_ids use_cache".split()
)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a module is. Units: `num_weights` are numbers."""

    vocab_size: int
    num_weights: int
    attention: ForeignAttention


def rehearsed(architecture: Architecture) -> Rehearsed:
    """Run a module without weights. Raises: Refused."""
    register()
    calls = _Calls()
    try:
        with torch.device("meta"), torch.no_grad():
            module = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                copy.deepcopy(architecture.config),
                dtype=torch.bfloat16,
                attn_implementation=REHEARSED,
                trust_remote_code=False,
            )
            module.train(False)
            logits = _run(module, calls)
    except Refused:
        raise
    except Exception as error:  # whatever a foreign module may raise is its refusal
        words = " ".join(str(error).split())
        raise Refused(
            f"{architecture.name} does not run without weights ({type(error).__name__}: {words})"
        ) from error
    return Rehearsed(
        vocab_size=_vocab_size(module, logits),
        num_weights=sum(weight.numel() for weight in module.parameters()),
        attention=calls.summary(),
    )


class _Calls:
    """Listens to what attention is asked for."""

    def __init__(self) -> None:
        self._layers: list[ForeignAttention] = []

    def __call__(self, asked: Asked) -> Tensor:
        """Note one call. Raises: Refused, for what our attention does not do."""
        for reason in _reasons(asked):
            raise Refused(reason)
        self._layers.append(
            ForeignAttention(
                layers=1,
                num_heads=asked.q.shape[1],
                num_kv_heads=asked.k.shape[1],
                head_width=asked.q.shape[2],
                scale=asked.scale,
            )
        )
        return torch.empty_like(asked.q)

    def summary(self) -> ForeignAttention:
        """Give what all layers have in common. Raises: Refused, where they differ."""
        if not self._layers:
            raise Refused("it does not attend through the register of transformers")
        kinds = set(self._layers)
        if len(kinds) > 1:
            raise Refused(f"its layers attend in {len(kinds)} different shapes or scales")
        (kind,) = kinds
        return ForeignAttention(
            layers=len(self._layers),
            num_heads=kind.num_heads,
            num_kv_heads=kind.num_kv_heads,
            head_width=kind.head_width,
            scale=kind.scale,
        )


def _run(module: PreTrainedModel, calls: _Calls) -> Tensor:
    wanted = inspect.signature(module.forward).parameters
    for name in ("position_ids", "logits_to_keep"):
        if name not in wanted:
            raise Refused(f"its forward takes no {name}")
    made = module(
        input_ids=torch.zeros((1, NUM_TOKENS), dtype=torch.long),
        attention_mask=torch.ones((1, NUM_TOKENS), dtype=torch.long),
        position_ids=torch.arange(NUM_TOKENS)[None],
        use_cache=False,
        logits_to_keep=torch.arange(NUM_ROWS),
        **{KEYWORD: calls},
    )
    logits: Tensor = made.logits
    return logits


def _reasons(asked: Asked) -> Iterator[str]:
    if isinstance(asked.mask, NotCausal):
        yield asked.mask.words
    elif asked.mask is not None:
        yield "it makes a mask of its own for attention"
    if asked.k.shape[2] != asked.v.shape[2]:
        yield (
            f"its values are {asked.v.shape[2]} wide and its keys {asked.k.shape[2]}, "
            "and the cache wants them alike"
        )
    if asked.k.shape != asked.v.shape or asked.q.shape[::2] != asked.k.shape[::2]:
        yield "its queries, keys and values do not belong to the same tokens and heads"
    yield from _extras(asked.others)


def _extras(others: Mapping[str, object]) -> Iterator[str]:
    for name, value in others.items():
        if name == "is_causal":
            if value is False:
                yield "its attention is not causal"
        elif name not in HARMLESS and value is not None and value is not False:
            shown = name if isinstance(value, Tensor) else f"{name}={value}"
            yield f"its attention asks for {shown}, which ours does not do"


def _vocab_size(module: PreTrainedModel, logits: Tensor) -> int:
    if tuple(logits.shape[:2]) != (1, NUM_ROWS):
        raise Refused("its forward gives more logits than it was asked for")
    size = logits.shape[2]
    table = module.get_input_embeddings()
    rows = getattr(table, "num_embeddings", size)
    if rows < size:
        raise Refused(f"it gives logits for {size} tokens and knows the embeddings of {rows}")
    return size
