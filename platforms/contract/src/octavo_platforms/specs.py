"""What each `bind_*` hook is asked: one frozen, keyword-only spec.

A spec holds all that may change a kernel's choice or its result, and nothing else, so that
equal specs share one kernel. Knows nothing of graphs' values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from octavo_platforms.binding import Binding
from octavo_platforms.graph import Attr, TensorType, ValueType
from octavo_platforms.ops.state import Lengths
from octavo_platforms.platform import DeviceTensor
from octavo_platforms.program import ProgramDef, StateSpec
from octavo_platforms.tensor import DType

Operand = TypeVar("Operand")
"""A tensor, in a framework's own type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSpec:
    """Any op without a hook of its own: its name, attributes and types."""

    op: str
    attrs: tuple[tuple[str, Attr], ...]
    inputs: tuple[ValueType, ...]
    outputs: tuple[ValueType, ...]

    def attr(self, name: str) -> Attr:
        """Give an attribute by name. Raises: KeyError."""
        return dict(self.attrs)[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSpec:
    """x [T, n_in] times a weight [n_out, n_in], plus a bias [n_out].

    `shared` says that something other than this kernel reads the weight too, so it stays as
    it was placed and `pack` is not called.
    """

    n_in: int
    n_out: int
    dtype: DType
    weight_dtype: DType
    bias: bool
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSpec:
    """Causal attention over a paged state; `window` is how many tokens are seen, None for all.

    A kernel that knows no windows answers a spec that has one with `Unsupported`. `lengths` says
    who knows how long contexts are. Where it is the device, with drafts in flight,
    `StepInputs.computed` and `StepShape.max_context` are upper bounds: a kernel may size by them,
    and takes what is attended to from the node's own `computed`. With a `softcap` of C a scaled
    score is C * tanh(score / C). With `sinks` each head has a score of its own beside those of
    positions, an operand behind the state. With `slopes` each head has a number that is added to
    its scores for every position between key and query, the last operand, float32. A kernel that
    knows no sinks or no slopes refuses, as with windows.
    """

    num_heads: int
    num_kv_heads: int
    head_width: int
    scale: float
    dtype: DType
    state: StateSpec
    window: int | None = None
    lengths: Lengths = "host"
    softcap: float | None = None
    sinks: bool = False
    slopes: bool = False

    def told_apart(self, behind: Sequence[Operand]) -> tuple[Operand | None, Operand | None]:
        """Give a node's sinks and its slopes, of what comes behind the state; None for none."""
        sinks = behind[0] if self.sinks else None
        return sinks, behind[-1] if self.slopes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KVWriteSpec:
    """Writing keys and values; `op` is `kv_write` or `rotary_kv_write`."""

    op: str
    num_kv_heads: int
    head_width: int
    dtype: DType
    state: StateSpec
    interleaved: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KVReadSpec:
    """Reading keys and values back by slot."""

    num_kv_heads: int
    head_width: int
    dtype: DType
    state: StateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttentionSpec:
    """Causal attention over a paged state of latents, each followed by its rotary key.

    The weight [num_heads * (plain_width + value_width), latent_width] comes with each run, as it
    was placed. Units: `plain_width` and `rope_width` are those of a query's two parts. `lengths`
    is as in `AttentionSpec`.
    """

    num_heads: int
    plain_width: int
    rope_width: int
    value_width: int
    latent_width: int
    scale: float
    dtype: DType
    state: StateSpec
    lengths: Lengths = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentRowsSpec:
    """Writing latents with their keys, or reading both back, as `op` says.

    `op` is `latent_write` or `latent_read`; `width` is that of a latent and its key together.
    """

    op: str
    width: int
    dtype: DType
    state: StateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySpec:
    """Copying blocks of a paged state, or rows of a recurrent one, all planes of a layer."""

    state: StateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerSpec:
    """An op that carries one plane of a recurrent state from token to token (`ops.recurrent`).

    `inputs` are the types of its operands, the state left out, in their order.
    """

    op: str
    attrs: tuple[tuple[str, Attr], ...]
    inputs: tuple[TensorType, ...]
    plane: str
    state: StateSpec

    def attr(self, name: str) -> Attr:
        """Give an attribute by name. Raises: KeyError."""
        return dict(self.attrs)[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttentionSpec:
    """Attention to all slots that a cross state holds of a request, whatever the token's position.

    How many these are, `GroupInputs.lengths` says, and an input of the node.
    """

    num_heads: int
    num_kv_heads: int
    head_width: int
    scale: float
    dtype: DType
    state: StateSpec


Spec = (
    OpSpec
    | LinearSpec
    | AttentionSpec
    | KVWriteSpec
    | KVReadSpec
    | LatentAttentionSpec
    | LatentRowsSpec
    | CopySpec
    | MixerSpec
    | CrossAttentionSpec
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSpec:
    """A bound program and its placed weights, to be made ready to launch.

    `num_blocks` gives, by state group, how many blocks to hold, the null block included.
    """

    program: ProgramDef
    binding: Binding
    weights: Mapping[str, DeviceTensor]
    num_blocks: Mapping[str, int]
