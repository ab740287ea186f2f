"""Foreign models: architectures without a graph, which a platform runs with code of its own.

What the whole engine stands on stays core's: it schedules requests over a paged state, and it
says what is written, attended to and chosen, as a program of two small entries that is bound
like any other. The platform brings what lies between two attentions, and the weights.

    bind_model(ForeignSpec) ─> ForeignModel          what it is, before a weight is read
    a program of `tokens`, `attend` and `sample`     core's and bound, with this model's attention
    ForeignModel.load(CompileSpec) ─> Program        with the entries `forward` and `sample`

`tokens` gives `token_ids` [T], which the model is to read: what a launch gives, or what seats
keep of launches that nobody has read yet. `attend` takes `q` [T, H, D], `k` and `v` [T, K, D]
beside a step's own inputs, writes keys and values into the state `kv` and gives `attended`
[T, H, D]. It is bound once, on layer 0 of the state: inside `forward` the platform runs its
kernels once for each layer, on that layer's planes. The dtype of `q` is the one
that the model is to compute in. The spec for `load` holds no weights.

Knows nothing of frameworks or of how a platform finds its models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from octavo_platforms.platform import Program
from octavo_platforms.specs import CompileSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSpec:
    """A checkpoint in Hugging Face's form: its folder, and what its config.json holds."""

    path: Path
    config: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignAttention:
    """How a foreign model attends: causally, to the whole context, alike in all its layers."""

    layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A model that a platform can run, before its sizes are decided.

    `words` say what runs it, for people. `load` reads the weights and makes it ready to launch.
    Raises, in `load`: CannotLoad, for files that do not hold what the model needs, and for a
    model that turns out to compute something else than promised.

    Units: `num_weights` are numbers, not bytes.
    """

    name: str
    words: str
    vocab_size: int
    max_context_tokens: int
    num_weights: int
    attention: ForeignAttention
    load: Callable[[CompileSpec], Program]
