"""Mixtures of experts: routing, grouping rows, a product for each group, and the sum.

On a host the counts are looked at and each expert is one product of its own rows. Where the
host must not wait for the device, every expert multiplies every row and its own are kept:
correct everywhere, and what a device with many experts replaces.

Knows nothing of which layers have experts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import linear

from octavo_platforms.ops.experts import Routing, routing_of
from octavo_platforms.ops.op import integer
from octavo_platforms.platform import Kernel
from octavo_platforms.specs import OpSpec
from octavo_torch.ops.rows import plain


def _route(spec: OpSpec) -> Kernel:
    routing = routing_of(dict(spec.attrs))

    def run(logits: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wide = logits.float()
        if routing.score == "near":
            order, found = _nearest(wide, routing)
            return order.int(), (found * routing.factor).to(logits.dtype)
        shares = torch.softmax(wide, -1) if routing.score == "softmax" else torch.sigmoid(wide)
        # Without a bias logits choose: shares that lie close together may round to the same.
        by = wide if bias is None else shares + bias.float()
        if routing.groups > 1:
            by = _in_best_groups(by, shares if bias is None else by, routing)
        # A stable sort, because `topk` promises no order among equal logits.
        order = torch.sort(by, dim=-1, descending=True, stable=True).indices[:, : routing.top_k]
        if routing.renormalise and routing.score == "softmax":
            found = torch.softmax(wide.gather(-1, order), -1)
        else:
            found = shares.gather(-1, order)
            if routing.renormalise:
                found = found / found.sum(-1, keepdim=True)
        return order.int(), (found * routing.factor).to(logits.dtype)

    return Kernel(name="torch.route", run=run)


def _nearest(logits: Tensor, routing: Routing) -> tuple[Tensor, Tensor]:
    """Choose the best of what is left, by its share of those near it. Shapes: [T, X]; [T, k] twice.

    Source: arXiv 2409.12136; as it is run, without the noise it is trained with.
    """
    order = torch.sort(logits, dim=-1, descending=True, stable=True).indices[:, : routing.top_k]
    left, shares = logits, []
    for choice in range(routing.top_k):
        chosen = order[:, choice, None]
        best = left.gather(-1, chosen)
        is_near = best - left <= routing.nearness * torch.maximum(best, left.abs())
        near = left.masked_fill(~is_near, float("-inf"))
        shares.append(torch.softmax(near, -1).gather(-1, chosen))
        left = left.scatter(-1, chosen, float("-inf"))
    return order, torch.cat(shares, -1)


def _in_best_groups(by: Tensor, shares: Tensor, routing: Routing) -> Tensor:
    """Close the groups that are not among the best. Shapes: [T, X], [T, X]; returns [T, X]."""
    grouped = by.view(by.shape[0], routing.groups, -1)
    if routing.group_score == "best":
        scores = grouped.amax(-1)
    else:
        scores = shares.view_as(grouped).topk(2, dim=-1).values.sum(-1)
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    is_open = torch.zeros_like(scores, dtype=torch.bool)
    is_open.scatter_(1, order[:, : routing.top_groups], True)
    return grouped.masked_fill(~is_open[..., None], float("-inf")).view_as(by)


def _group_rows(spec: OpSpec) -> Kernel:
    num_experts = integer(dict(spec.attrs), "num_experts")

    def run(ids: Tensor, query_starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        num_tokens, top_k = ids.shape
        tokens = torch.arange(num_tokens, dtype=torch.int32, device=ids.device)
        is_padding = (tokens >= query_starts[-1])[:, None]
        experts = ids.masked_fill(is_padding, num_experts).view(-1)
        order = torch.argsort(experts, stable=True)
        places = torch.empty_like(experts)
        places[order] = torch.arange(len(order), dtype=torch.int32, device=ids.device)
        every = torch.arange(num_experts, dtype=torch.int32, device=ids.device)
        counts = (experts[:, None] == every).sum(0, dtype=torch.int32)
        rows = torch.div(order, top_k, rounding_mode="floor").int()
        return rows, places.view(num_tokens, top_k), counts

    return Kernel(name="torch.group_rows", run=run)


def grouped_linear(
    x: Tensor, weights: Tensor, counts: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Multiply each run of rows by its own weight; the rest becomes zeros.

    Shapes: x [A, I]; weights [X, O, I]; counts [X]; bias [X, O]; returns [A, O].
    """
    found = x.new_empty(x.shape[0], weights.shape[1])
    first = 0
    for expert, count in enumerate(counts.tolist()):
        if count:
            own = slice(first, first + count)
            if bias is None:
                torch.mm(x[own], weights[expert].T, out=found[own])
            else:
                torch.addmm(bias[expert], x[own], weights[expert].T, out=found[own])
            first += count
    found[first:].zero_()
    return found


def grouped_linear_without_waiting(
    x: Tensor, weights: Tensor, counts: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Multiply every row by every weight, and keep its own. Shapes: as `grouped_linear`."""
    rows = torch.arange(x.shape[0], device=x.device)
    owners = torch.searchsorted(counts.cumsum(0), rows, right=True)[:, None]
    found = x.new_zeros(x.shape[0], weights.shape[1])
    for expert in range(weights.shape[0]):
        own = None if bias is None else bias[expert]
        found = torch.where(owners == expert, linear(x, weights[expert], own), found)
    return found


def combine(y: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Sum each token's rows by weight. Shapes: y [kT, E]; places, weights [T, k]; [T, E]."""
    own = y.index_select(0, places.view(-1)).view(*places.shape, -1)
    shares = weights.float()[..., None]
    return (own.float() * shares).masked_fill_(shares == 0, 0).sum(1).to(y.dtype)


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "route": _route,
        "group_rows": _group_rows,
        "grouped_linear": plain("grouped_linear", grouped_linear),
        "combine": plain("combine", combine),
    }
)
WITHOUT_WAITING: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {"grouped_linear": plain("grouped_linear_everywhere", grouped_linear_without_waiting)}
)
