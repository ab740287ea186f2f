"""Specs of experts: how many there are, who is chosen and how, and what stands beside them.

Differences between families are data: where shares come from, who they are shared out among, in
which layers experts stand. Knows nothing of graphs, nor of any family by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from octavo.errors import ModelError
from octavo.models.reading import Config, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSpec:
    """A layer's experts: `count` of them, of which each token has `top_k`.

    The router's numbers are those of the op `route`. `is_wide` says that it computes in float32;
    `has_correction` that a bias helps to choose; `is_clamped` that gate and up are held between
    limits before they meet. `shared_width` is that of what all tokens have beside their experts,
    `shared_gate` says whether a share of it is asked of the token. `layers` are those that have
    experts; the others are dense.
    """

    count: int
    top_k: int
    width: int
    layers: frozenset[int]
    renormalise: bool
    score: Literal["softmax", "sigmoid", "near"] = "softmax"
    nearness: float = 0.0
    groups: int = 1
    top_groups: int = 1
    group_score: Literal["best", "two best"] = "best"
    factor: float = 1.0
    is_wide: bool = False
    has_correction: bool = False
    has_bias: bool = False
    clamp: ClampSpec | None = None
    shared_name: str = "shared_expert"
    shared_width: int = 0
    shared_gate: bool = False


@dataclass(frozen=True, slots=True)
class ClampSpec:
    """A gate of experts that is held below `limit`, up between it and its negative.

    What comes out is (up + 1) * gate * sigmoid(alpha * gate).
    """

    limit: float
    alpha: float


def expert_spec(
    config: Config,
    *,
    count: str,
    renormalise: bool,
    top_k: str = "num_experts_per_tok",
    width: str = "moe_intermediate_size",
) -> ExpertSpec:
    """Read what most families say, in the keys they say it in. Raises: ModelError."""
    number, chosen = whole(config, count), whole(config, top_k)
    if chosen > number:
        raise ModelError(f"config.json: '{top_k}' asks for {chosen} of {number} experts")
    layers = frozenset(range(whole(config, "num_hidden_layers")))
    return ExpertSpec(
        count=number,
        top_k=chosen,
        width=whole(config, width),
        layers=layers,
        renormalise=renormalise,
    )
