"""Ops on what seats keep: tokens that the host has not read, and drafts held against them.

With launches in flight the host does not know what the one before gave, nor how many drafts
it accepted. It says where a number comes from (`token_from`, `computed_from`), and the device
fills it in from buffers with a row for each seat.

Knows nothing of who makes drafts.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo_platforms.graph import Dim, TensorType, ValueType
from octavo_platforms.ops.op import Attrs, Op, ShapeError, expect, integer, tensor


def _pick(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """Given int32 [A], source int32 [A], seats int32 [A], columns int32 [N] each -> int32 [A].

    Source 0 keeps what was given; source k takes the k-th column at the element's seat, where
    -1, which `sample` gives for no token, counts as 0.
    """
    given, source, seats = (tensor(types, index) for index in range(3))
    expect(len(given.shape) == 1 and given.dtype == "int32", f"cannot pick into {given}")
    expect(given == source == seats, f"{source} and {seats} are not one for each of {given}")
    expect(len(types) > 3, "there is no column to pick from")
    for index in range(3, len(types)):
        column = tensor(types, index)
        expect(len(column.shape) == 1 and column.dtype == "int32", f"{column} is no column")
    return (given,)


def _owners(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """token_ids int32 [T], query_starts int32 [R+1] -> int32 [T], the request of each token.

    Tokens past the last request's are padding: they belong to some request.
    """
    tokens = tensor(types, 0)
    expect(len(tokens.shape) == 1, f"token ids have one axis, not {tokens}")
    _requests(tensor(types, 1))
    return (TensorType(tokens.shape, "int32"),)


def _draft_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """query_starts int32 [R+1], num_drafts int32 [R]; width W -> int32 [W*R].

    A request's tokens end with its drafts, at most W-1. Its rows are the last token before
    them, then each of them; rows that are left over repeat the last. A request without any
    tokens gives some token of the step.
    """
    starts, drafts = tensor(types, 0), tensor(types, 1)
    _each_request(drafts, starts)
    return (TensorType((Dim(_requests(starts), times=_width(attrs)),), "int32"),)


def _accept(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """token_ids int32 [T], chosen int32 [W*R], query_starts, num_drafts and computed; width W.

    `chosen` are the tokens that follow each of `draft_rows`. A draft is accepted where it and
    all before it are what was chosen; one choice more than accepted drafts counts. A request
    without tokens gets none. Gives tokens [R, W], zeros after those that count; how many
    count, [R]; the last that counts, [R], or 0; and how much is computed now, [R]: all but the
    drafts that were not accepted.
    """
    tokens, chosen, starts, drafts, computed = (tensor(types, index) for index in range(5))
    width, requests = _width(attrs), _requests(starts)
    expect(len(tokens.shape) == 1, f"token ids have one axis, not {tokens}")
    expect(
        chosen.shape == (Dim(requests, times=width),),
        f"{chosen} is not {width} choices for each request",
    )
    _each_request(drafts, starts)
    _each_request(computed, starts)
    each = TensorType((Dim(requests),), "int32")
    return TensorType((Dim(requests), width), "int32"), each, each, each


def _last_rows(types: Sequence[ValueType], attrs: Attrs) -> tuple[ValueType, ...]:
    """query_starts int32 [R+1], num_drafts int32 [R], num_tokens int32 [R] -> int32 [R].

    The row of each request's last token that counts, once drafts were checked: `num_tokens`, as
    `accept` gives it, is one more than were accepted, and the others stand behind. A request
    without any tokens gives some token of the step.
    """
    starts, drafts, counts = (tensor(types, index) for index in range(3))
    _each_request(drafts, starts)
    _each_request(counts, starts)
    return (TensorType((Dim(_requests(starts)),), "int32"),)


def _each_request(found: TensorType, starts: TensorType) -> None:
    expect(found.shape == (Dim(_requests(starts)),), f"{found} is not one for each request")


def _requests(starts: TensorType) -> str:
    expect(len(starts.shape) == 1, f"starts have one axis, not {starts}")
    size = starts.shape[0]
    if not isinstance(size, Dim) or size != Dim(size.symbol, plus=1):
        raise ShapeError(f"{starts} is not one start for each request and an end")
    return size.symbol


def _width(attrs: Attrs) -> int:
    width = integer(attrs, "width")
    expect(width > 0, "width has to be positive")
    return width


PICK = Op(name="pick", infer=_pick)
OWNERS = Op(name="owners", infer=_owners)
DRAFT_ROWS = Op(name="draft_rows", infer=_draft_rows)
ACCEPT = Op(name="accept", infer=_accept)
LAST_ROWS = Op(name="last_rows", infer=_last_rows)

OPS = (PICK, OWNERS, DRAFT_ROWS, ACCEPT, LAST_ROWS)
