"""What seats keep: numbers filled in on the device, and drafts held against what was chosen.

Nothing here waits for the device: shapes follow from those of the inputs.

Knows nothing of logits or of who makes drafts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.rows import request_of


def pick(given: Tensor, source: Tensor, seats: Tensor, *columns: Tensor) -> Tensor:
    """Take from a seat's columns where a source says so. Shapes: [A] thrice, [N] each; [A]."""
    found = given
    for index, column in enumerate(columns, 1):
        kept = column.index_select(0, seats).clamp_(min=0)
        found = torch.where(source == index, kept, found)
    return found


def owners(token_ids: Tensor, query_starts: Tensor) -> Tensor:
    """Tell whose each token is, the last request's where nobody's. Shapes: [T], [R+1]; [T]."""
    return request_of(_count(len(token_ids), query_starts), query_starts)


def draft_rows(query_starts: Tensor, num_drafts: Tensor, *, width: int) -> Tensor:
    """Name the rows before and after which drafts stand. Shapes: [R+1], [R]; returns [W*R]."""
    last = query_starts[1:, None] - 1
    rows = last - num_drafts[:, None] + _count(width, query_starts)
    return torch.minimum(rows, last).clamp_(min=0).view(-1)


def accept(
    token_ids: Tensor,
    chosen: Tensor,
    query_starts: Tensor,
    num_drafts: Tensor,
    computed: Tensor,
    *,
    width: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Count the drafts that are what was chosen.

    Shapes: [T], [W*R], [R+1], [R], [R]; returns tokens [R, W], their number [R], the last of
        them [R], how much is computed [R].
    """
    made, counts = chosen.view(-1, width), _count(width, query_starts)
    rows = draft_rows(query_starts, num_drafts, width=width)
    fed = token_ids.index_select(0, rows).view(-1, width)
    is_right = (fed[:, 1:] == made[:, :-1]) & (counts[1:] <= num_drafts[:, None])
    accepted = is_right.int().cumprod(1, dtype=torch.int32).sum(1, dtype=torch.int32)
    lengths = query_starts.diff()
    is_there = lengths > 0
    num_tokens = (accepted + 1) * is_there
    tokens = made * (counts < num_tokens[:, None])
    last = tokens.gather(1, accepted.long()[:, None])[:, 0]
    known = computed + (lengths - num_drafts + accepted) * is_there
    return tokens, num_tokens, last, known


def last_rows(query_starts: Tensor, num_drafts: Tensor, num_tokens: Tensor) -> Tensor:
    """Name each request's last token that counts. Shapes: [R+1], [R], [R]; returns [R]."""
    return (query_starts[1:] - 2 - num_drafts + num_tokens).clamp_(min=0)


def _count(width: int, like: Tensor) -> Tensor:
    return torch.arange(width, dtype=torch.int32, device=like.device)


def _wide(name: str, run: Callable[..., object]) -> Callable[[OpSpec], Kernel]:
    def make(spec: OpSpec) -> Kernel:
        width = integer(dict(spec.attrs), "width")

        def at_width(*given: Tensor) -> object:
            return run(*given, width=width)

        return Kernel(name=f"torch.{name}", run=at_width)

    return make


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "pick": lambda spec: Kernel(name="torch.pick", run=pick),
        "owners": lambda spec: Kernel(name="torch.owners", run=owners),
        "draft_rows": _wide("draft_rows", draft_rows),
        "accept": _wide("accept", accept),
        "last_rows": lambda spec: Kernel(name="torch.last_rows", run=last_rows),
    }
)
