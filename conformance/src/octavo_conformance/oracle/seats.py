"""What seats keep: numbers filled in from it, and drafts held against what was chosen.

Knows nothing of logits or of who makes drafts.
"""

from __future__ import annotations

import numpy as np

from octavo_conformance.oracle.rows import request_of
from octavo_conformance.oracle.values import Ints


def pick(given: Ints, source: Ints, seats: Ints, *columns: Ints) -> Ints:
    """Take from a seat's columns where a source says so. Shapes: [A] thrice, [N] each; [A]."""
    found = given.copy()
    for index, (column, seat) in enumerate(zip(source, seats, strict=True)):
        if column > 0:
            found[index] = max(0, columns[column - 1][seat])
    return found


def owners(token_ids: Ints, query_starts: Ints) -> Ints:
    """Tell whose each token is, the last request's where nobody's. Shapes: [T], [R+1]; [T]."""
    tokens = np.arange(len(token_ids), dtype=np.int32)
    return np.minimum(request_of(tokens, query_starts), len(query_starts) - 2).astype(np.int32)


def draft_rows(query_starts: Ints, num_drafts: Ints, *, width: int) -> Ints:
    """Name the rows before and after which drafts stand. Shapes: [R+1], [R]; returns [W*R]."""
    found = [
        max(0, min(stop - 1 - drafts + row, stop - 1))
        for stop, drafts in zip(query_starts[1:], num_drafts, strict=True)
        for row in range(width)
    ]
    return np.array(found, np.int32)


def accept(
    token_ids: Ints,
    chosen: Ints,
    query_starts: Ints,
    num_drafts: Ints,
    computed: Ints,
    *,
    width: int,
) -> tuple[Ints, Ints, Ints, Ints]:
    """Count the drafts that are what was chosen.

    Shapes: [T], [W*R], [R+1], [R], [R]; returns tokens [R, W], their number [R], the last of
        them [R], how much is computed [R].
    Source: arXiv 2211.17192, for choices that follow from the seed.
    """
    num_requests = len(computed)
    tokens = np.zeros((num_requests, width), np.int32)
    num_tokens, last, known = np.zeros_like(computed), np.zeros_like(computed), computed.copy()
    for request in range(num_requests):
        start, stop = query_starts[request : request + 2]
        if start == stop:
            continue
        drafts = token_ids[stop - num_drafts[request] : stop]
        mine = chosen[request * width : (request + 1) * width]
        accepted = 0
        while accepted < len(drafts) and drafts[accepted] == mine[accepted]:
            accepted += 1
        tokens[request, : accepted + 1] = mine[: accepted + 1]
        num_tokens[request], last[request] = accepted + 1, mine[accepted]
        known[request] += stop - start - len(drafts) + accepted
    return tokens, num_tokens, last, known


def last_rows(query_starts: Ints, num_drafts: Ints, num_tokens: Ints) -> Ints:
    """Name each request's last token that counts. Shapes: [R+1], [R], [R]; returns [R]."""
    found = [
        max(0, stop - 1 - (drafts - (count - 1)))
        for stop, drafts, count in zip(query_starts[1:], num_drafts, num_tokens, strict=True)
    ]
    return np.array(found, np.int32)
