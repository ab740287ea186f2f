"""Specs of memories: states of a fixed size that a layer overwrites as it goes, by their data.

    mamba1   decays and feeds N numbers of each feature, each by its own   arXiv 2312.00752
    mamba2   the same, with one decay for all numbers of a head            arXiv 2405.21060
    delta    corrects a memory of keys and values by the delta rule        arXiv 2412.06464

All mix each channel with its last values before. Knows nothing of graphs, nor of any family.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.tensor import DType

GROUP = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Numbers on what attention, a mixer beside it and the MLP read and give."""

    attention_in: float
    attention_out: float
    mixer_in: float
    mixer_out: float
    mlp_gate: float
    mlp_out: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySpec:
    """A memory of `heads` heads, `width` features each, in `layers`.

    `shared_heads` have the B and C of mamba2, or the queries and keys of delta, of `numbers`
    each, for several heads. `taps` is how many values of a channel are mixed. Steps stay between
    `low` and `high`. `scales` are of mamba2's gate, x, B, C and steps, as projected; where there
    are some, x, B and C are mixed apart. A `gate` is "inside" the norm behind a scan, "outside",
    or there is no norm.

    mamba1 has heads of one feature. Its steps are made of `rank` numbers; `norms` says whether
    these, B and C have norms, "plain" ones without a weight. `is_wide` says that what passes
    between layers is float32.
    """

    kind: Literal["mamba1", "mamba2", "delta"]
    layers: tuple[int, ...]
    heads: int
    width: int
    shared_heads: int
    numbers: int
    taps: int
    eps: float
    low: float = 0.0
    high: float | None = None
    gate: Literal["inside", "outside", "alone"] = "outside"
    has_bias: bool = False
    has_conv_bias: bool = False
    scales: tuple[float, ...] = ()
    beside: Beside | None = None
    rank: int = 0
    norms: Literal["plain", "weighted"] | None = None
    is_wide: bool = False

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """Give the runs of channels that are mixed, by name, and how many each has."""
        if not self.scales:
            return (("", self.mixed),)
        return (("x", self.inner), ("B", self.shared), ("C", self.shared))

    @property
    def inner(self) -> int:
        """Count the features of all heads."""
        return self.heads * self.width

    @property
    def shared(self) -> int:
        """Count the numbers of all shared heads."""
        return self.shared_heads * self.numbers

    @property
    def mixed(self) -> int:
        """Count the channels that are mixed with their values before."""
        return self.inner if self.kind == "mamba1" else self.inner + 2 * self.shared

    def state(self, dtype: DType) -> StateSpec:
        """Give the state of all layers that remember."""
        mixed = (
            Plane(f"conv{name}", (self.taps - 1, width), dtype, ("W", "C"))
            for name, width in self.parts
        )
        if self.kind != "delta":
            own = Plane("ssm", (self.heads, self.width, self.numbers), "float32", ("H", "D", "N"))
        else:
            shape = (self.heads, self.numbers, self.width)
            own = Plane("delta", shape, "float32", ("H", "N", "D"))
        return StateSpec(GROUP, "recurrent", (*mixed, own), len(self.layers), ring=1)
