"""Forks: requests that share a prompt, which is computed once.

    first     prompt ─────────> first token, and so full blocks with names
    others                      └─ added now: prefix hits, and less than a block each of their own

The first is an ordinary request; the others wait here, where they cost nothing, until it has a
token. Where nothing is remembered, each computes the prompt itself, and the tokens are the same.

Knows nothing of text, nor of what the outputs are for.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.engine import Engine
from octavo.request import Request, RequestId
from octavo.step import Delta


class Forks:
    """An engine to which requests may come in groups that share a prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._others: dict[RequestId, list[Request]] = {}

    def add(self, requests: Sequence[Request]) -> None:
        """Take requests of one prompt, of which the engine has refused none or all.

        Raises: ClientError, as the engine does.
        """
        first, *others = requests
        self._engine.add(first)
        if others:
            self._others[first.request_id] = others

    def step(self) -> Delta:
        """Make a step of the engine, and let those go on whose prompt is computed now.

        While all are held it waits for the engine's bell, however long that takes.
        """
        delta = self._engine.step(patience_s=None)
        if self._others:
            for request_id in (*delta.request_ids, *delta.finished):
                self._let_go(request_id)
        return delta

    def abort(self, request_id: RequestId) -> None:
        """End a request, wherever it waits. Harmless where it has ended."""
        for others in self._others.values():
            others[:] = [other for other in others if other.request_id != request_id]
        self._engine.abort(request_id)
        self._let_go(request_id)

    def _let_go(self, first: RequestId) -> None:
        for other in self._others.pop(first, ()):
            self._engine.add(other)


def seed_of_fork(seed: int | None, index: int) -> int | None:
    """Give the seed of the i-th output: the prompt's plus i, within 64 bits."""
    if seed is None:
        return None
    return (seed + index + 2**63) % 2**64 - 2**63
