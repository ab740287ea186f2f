"""Recurrent states: which rows hold them, and what carries them from token to token.

A mixer walks each request token by token from the row it starts from, and keeps what its state
was after each. A plane is [B, ...], B rows of whatever one request has. Knows nothing of chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from octavo_conformance.oracle.values import Floats, Ints

Token = Callable[[int, Floats], Floats]
"""Takes a token and the state before it; gives the state after it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Whose each token is, the rows of a plane that requests start from, and those they end in.

    Shapes: query_starts [R+1]; source [R]; targets [R, W]; plane [B, ...].
    """

    query_starts: Ints
    source: Ints
    targets: Ints
    plane: Floats

    @classmethod
    def given(cls, found: Sequence[object], place: int) -> Rows:
        """Take them from a node's inputs: the last of four is all planes of a state."""
        *numbers, state = found
        assert isinstance(state, tuple)
        query_starts, source, targets = (np.asarray(each, np.int32) for each in numbers)
        return cls(query_starts, source, targets, state[place])

    def walk(self, after: Token) -> None:
        """Carry each request's state over its tokens; keep the last ones where targets say."""
        width = self.targets.shape[1]
        for request, row in enumerate(self.source):
            start, stop = self.query_starts[request], self.query_starts[request + 1]
            state = np.zeros(self.plane.shape[1:]) if row == 0 else self.plane[row].copy()
            for token in range(start, stop):
                state = after(token, state)
                place = width - (stop - token)
                if place >= 0:
                    self.plane[self.targets[request, place]] = state


def ring_rows(query_starts: Ints, computed: Ints, state_rows: Ints) -> tuple[Ints, Ints]:
    """Find the row to start from and those to end in. Shapes: [R+1], [R], [R, W]; [R], [R, W]."""
    width = state_rows.shape[1]
    source, targets = np.zeros_like(computed), np.zeros_like(state_rows)
    for request, ring in enumerate(state_rows):
        known, num_tokens = computed[request], query_starts[request + 1] - query_starts[request]
        if known > 0:
            source[request] = ring[(known - 1) % width]
        for place in range(max(0, width - num_tokens), width):
            targets[request, place] = ring[(known + num_tokens - width + place) % width]
    return source, targets


def causal_conv(x: Floats, weight: Floats, bias: Floats | None = None, *, rows: Rows) -> Floats:
    """Weigh each row with those before it. Shapes: x [T, C]; weight [C, K]; planes [B, K-1, C].

    Source: arXiv 2312.00752 section 3.4.
    """
    found = np.zeros_like(x)

    def after(token: int, before: Floats) -> Floats:
        seen = np.concatenate([before, x[token : token + 1]])
        found[token] = np.sum(seen * weight.T, axis=0) + (0.0 if bias is None else bias)
        return np.asarray(seen[1:], np.float64)

    rows.walk(after)
    return found


def time_steps(x: Floats, bias: Floats, *, low: float, high: float | None) -> Floats:
    """Make positive steps. Shapes: x [T, H]; bias [H]."""
    return np.clip(np.logaddexp(0.0, x + bias), low, np.inf if high is None else high)


def selective_scan(*operands: Floats, rows: Rows) -> Floats:
    """Decay, feed and read a state.

    Shapes: the operands are x [T, H, D], dt [T, H], a_log [H] or [H, N], b and c [T, G, N] and
        d [H]; planes [B, H, D, N].
    Source: arXiv 2312.00752 section 3; with one decay a head, arXiv 2405.21060 section 2.
    """
    x, dt, a_log, b, c, d = operands
    found = np.zeros_like(x)
    group = np.arange(x.shape[1]) * b.shape[1] // x.shape[1]
    decay = -np.exp(a_log if a_log.ndim == 2 else a_log[:, None])

    def after(token: int, before: Floats) -> Floats:
        step = dt[token][:, None]
        kept = np.exp(step * decay)[:, None, :] * before
        state = kept + (step * x[token])[:, :, None] * b[token][group][:, None, :]
        read = np.sum(state * c[token][group][:, None, :], axis=-1)
        found[token] = read + d[:, None] * x[token]
        return np.asarray(state, np.float64)

    rows.walk(after)
    return found


def gated_delta(*operands: Floats, rows: Rows, scale: float, eps: float | None) -> Floats:
    """Decay, correct and read a memory.

    Shapes: the operands are q and k [T, K, Dk], v [T, H, Dv], dt [T, H], a_log [H] and beta
        [T, H]; planes [B, H, Dk, Dv].
    Source: arXiv 2412.06464 section 3.1.
    """
    q, k, v, dt, a_log, beta = operands
    found = np.zeros_like(v)
    head = np.arange(v.shape[1]) * q.shape[1] // v.shape[1]

    def after(token: int, before: Floats) -> Floats:
        query, key = (_unit(each[token], eps)[head] for each in (q, k))
        state = np.exp(-np.exp(a_log) * dt[token])[:, None, None] * before
        wrong = v[token] - np.einsum("hkv,hk->hv", state, key)
        state = state + key[:, :, None] * (beta[token][:, None] * wrong)[:, None, :]
        found[token] = scale * np.einsum("hkv,hk->hv", state, query)
        return np.asarray(state, np.float64)

    rows.walk(after)
    return found


def state_copy(sources: Ints, targets: Ints, state: tuple[Floats, ...]) -> None:
    """Make blocks or rows what others are. Shapes: sources and targets [C]; planes [B, ...]."""
    for plane in state:
        plane[targets] = plane[sources]


def _unit(x: Floats, eps: float | None) -> Floats:
    """Divide rows by their length. Shapes: [H, D]."""
    if eps is None:
        return x
    return np.asarray(x / np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True) + eps), np.float64)
