"""Mistakes of recurrent states: rows read, written or copied wrongly, and recurrences.

Each differs from the oracle in one thing. Knows nothing of platforms or of who finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from octavo_conformance.oracle import recurrent
from octavo_conformance.oracle.platform import in_order, mixer_kernel, state_kernel
from octavo_conformance.oracle.recurrent import Rows, Token
from octavo_conformance.oracle.values import Floats, Ints
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import StateKernel
from octavo_platforms.specs import CopySpec, MixerSpec


@dataclass(frozen=True, slots=True)
class WrongMixer:
    """A plugin that has one mixer, and has it wrong."""

    op: str
    run: Callable[..., object]

    @hookimpl
    def bind_state_mixer(self, spec: MixerSpec) -> StateKernel | None:
        """Give the wrong kernel."""
        return mixer_kernel(spec, self.run) if spec.op == self.op else None


class CopiesOneByOne:
    """Copies each row before it reads the next."""

    @hookimpl
    def bind_kv_copy(self, spec: CopySpec) -> StateKernel:
        """Give the wrong kernel."""

        def run(sources: Ints, targets: Ints, state: tuple[Floats, ...]) -> None:
            for source, target in zip(sources, targets, strict=True):
                for plane in state:
                    plane[target] = plane[source]

        return state_kernel("state_copy", run, in_order(spec.state))


class CopiesOnePlane:
    """Copies the first of a state's planes."""

    @hookimpl
    def bind_kv_copy(self, spec: CopySpec) -> StateKernel:
        """Give the wrong kernel."""

        def run(sources: Ints, targets: Ints, state: tuple[Floats, ...]) -> None:
            state[0][targets] = state[0][sources]

        return state_kernel("state_copy", run, in_order(spec.state))


@dataclass(frozen=True)
class FromAnyRow(Rows):
    """Starts from what the null row holds."""

    def walk(self, after: Token) -> None:
        """Walk as if the null row were a row."""
        more = np.concatenate([self.plane, self.plane[:1]])
        source = np.where(self.source == 0, len(self.plane), self.source)
        replace(self, source=source, plane=more).right(after)
        self.plane[:] = more[:-1]

    def right(self, after: Token) -> None:
        """Walk as the oracle does."""
        super().walk(after)


@dataclass(frozen=True)
class LastEverywhere(Rows):
    """Ends in all rows alike, in the state after the last token."""

    def walk(self, after: Token) -> None:
        """Walk, then write the last state again."""
        super().walk(after)
        for request, rows in enumerate(self.targets):
            if self.query_starts[request] < self.query_starts[request + 1]:
                self.plane[rows] = self.plane[rows[-1]]


@dataclass(frozen=True)
class WritesFirst(Rows):
    """Clears the rows that it will write before it reads."""

    def walk(self, after: Token) -> None:
        """Clear, then walk."""
        lengths = np.diff(self.query_starts)
        for rows, length in zip(self.targets, lengths, strict=True):
            self.plane[rows[max(0, len(rows) - length) :]] = 0.0
        super().walk(after)


def scan_from_any_row(*operands: Floats, rows: Rows) -> Floats:
    """A scan whose fresh requests start from the null row."""
    return recurrent.selective_scan(*operands, rows=_as(FromAnyRow, rows))


def scan_without_rollback(*operands: Floats, rows: Rows) -> Floats:
    """A scan that keeps its last state alone."""
    return recurrent.selective_scan(*operands, rows=_as(LastEverywhere, rows))


def delta_that_writes_first(
    *operands: Floats, rows: Rows, scale: float, eps: float | None
) -> Floats:
    """A delta rule that clears where it will write."""
    return recurrent.gated_delta(*operands, rows=_as(WritesFirst, rows), scale=scale, eps=eps)


def scan_of_interleaved_groups(*operands: Floats, rows: Rows) -> Floats:
    """A scan that deals groups out to heads in turn."""
    x, dt, a_log, b, c, d = operands
    groups = np.arange(x.shape[1]) % b.shape[1]
    return recurrent.selective_scan(x, dt, a_log, b[:, groups], c[:, groups], d, rows=rows)


def scan_of_one_rate(*operands: Floats, rows: Rows) -> Floats:
    """A scan that gives every number of a head the decay of the first."""
    x, dt, a_log, b, c, d = operands
    first = a_log if a_log.ndim == 1 else a_log[:, 0]
    return recurrent.selective_scan(x, dt, first, b, c, d, rows=rows)


def delta_without_decay(*operands: Floats, rows: Rows, scale: float, eps: float | None) -> Floats:
    """A delta rule that forgets nothing by itself."""
    q, k, v, dt, a_log, beta = operands
    return recurrent.gated_delta(q, k, v, 0 * dt, a_log, beta, rows=rows, scale=scale, eps=eps)


def conv_backwards(x: Floats, weight: Floats, bias: Floats | None = None, *, rows: Rows) -> Floats:
    """A convolution whose first tap is that of the token itself."""
    return recurrent.causal_conv(x, weight[:, ::-1], bias, rows=rows)


def conv_over_mates(x: Floats, weight: Floats, bias: Floats | None = None, *, rows: Rows) -> Floats:
    """A convolution that takes the batch for one request."""
    ends = np.array([0, len(x)], np.int32)
    one = replace(rows, query_starts=ends, source=rows.source[:1], targets=rows.targets[:1])
    found = recurrent.causal_conv(x, weight, bias, rows=one)
    recurrent.causal_conv(x, weight, bias, rows=rows)
    return found


def rings_one_place_late(query_starts: Ints, computed: Ints, state_rows: Ints) -> tuple[Ints, Ints]:
    """Rings that start from the row of the token to come."""
    _, targets = recurrent.ring_rows(query_starts, computed, state_rows)
    source, _ = recurrent.ring_rows(query_starts, computed + (computed > 0), state_rows)
    return source, targets


def steps_without_limits(x: Floats, bias: Floats, *, low: float, high: float | None) -> Floats:
    """Time steps that nothing holds back."""
    return recurrent.time_steps(x, bias, low=0.0, high=None)


def _as(kind: type[Rows], rows: Rows) -> Rows:
    return kind(rows.query_starts, rows.source, rows.targets, rows.plane)


MISTAKES: tuple[tuple[str, object, str], ...] = (
    (
        "scan that starts from the null row",
        WrongMixer("selective_scan", scan_from_any_row),
        "selective_scan",
    ),
    (
        "scan that keeps one state",
        WrongMixer("selective_scan", scan_without_rollback),
        "selective_scan",
    ),
    (
        "scan of interleaved groups",
        WrongMixer("selective_scan", scan_of_interleaved_groups),
        "selective_scan",
    ),
    ("scan of one rate", WrongMixer("selective_scan", scan_of_one_rate), "selective_scan"),
    (
        "delta rule that writes first",
        WrongMixer("gated_delta", delta_that_writes_first),
        "gated_delta",
    ),
    ("delta rule without decay", WrongMixer("gated_delta", delta_without_decay), "gated_delta"),
    ("convolution backwards", WrongMixer("causal_conv", conv_backwards), "causal_conv"),
    ("convolution over mates", WrongMixer("causal_conv", conv_over_mates), "causal_conv"),
    ("copies one by one", CopiesOneByOne(), "state_copy"),
    ("copies of one plane", CopiesOnePlane(), "state_copy"),
)
