"""Ways to attend to what was gathered, and which of them a node needs.

    sdpa_decode      torch's own: scores are products, and what a mask adds to them
    capped_decode    scores that a cap bends, or beside which heads have sinks

Slopes are no way of their own: they make a mask that differs by head, in float32. So they need a
way that adds masks in float32 whatever the rows are, which torch's own does on the host, and is
not known to do elsewhere.

Knows nothing of blocks: keys and values are matrices here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from octavo_platforms.specs import AttentionSpec

Decode = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


def sdpa_decode(
    q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """Attend one token of each request to its gathered context.

    Shapes: q [R, K, G, D]; keys and values [R, K, S, D]; mask [R, K or 1, G or 1, S]; returns as q.
    Dtypes: as q, masks too, which may be float32 on the host; scores are float32.
    """
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=scale)


def capped_decode(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scale: float,
    *,
    cap: float | None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attend as `sdpa_decode` does, by scores that a cap bends: cap * tanh(score / cap).

    Shapes: sinks are as wide as q but in the last axis, or may be repeated until they are.
    Dtypes: as q; scores are float32, and masks may be.
    Source: arXiv 2408.00118; sinks, arXiv 2309.17453.
    """
    scores = torch.matmul(q.float(), keys.float().transpose(-1, -2)).mul_(scale)
    if cap is not None:
        scores = scores.div_(cap).tanh_().mul_(cap)
    if mask is not None:
        scores = scores + mask
    if sinks is not None:
        beside = sinks.float().expand(*scores.shape[:-1], 1)
        shares = torch.cat([scores, beside], -1).softmax(-1)[..., :-1]
        return torch.matmul(shares, values.float()).to(q.dtype)
    return torch.matmul(scores.softmax(-1), values.float()).to(q.dtype)


def decoding(spec: AttentionSpec, *, is_host: bool = False) -> Decode:
    """Give torch's way to attend to what was gathered, by what a spec asks for."""
    is_known = is_host or not spec.slopes or spec.dtype == "float32"
    if spec.softcap is None and is_known:
        return sdpa_decode
    return partial(capped_decode, cap=spec.softcap)


@dataclass(frozen=True, slots=True)
class Own:
    """What each head has of its own: sinks and slopes, None for none.

    Shapes: [K, rows, 1], where a KV head's rows are the heads that share it, for each query.
    """

    sinks: Tensor | None
    slopes: Tensor | None

    def way(self, decode: Decode, spec: AttentionSpec) -> Decode:
        """Give a way to attend that knows the sinks, where there are some."""
        if self.sinks is None:
            return decode
        return partial(capped_decode, cap=spec.softcap, sinks=self.sinks)

    def of_heads(self, part: slice) -> Own:
        """Give what some KV heads have, each of the heads that share one apart.

        Shapes: [K, G, 1, 1], of what was made for one query.
        """
        sinks, slopes = (
            None if each is None else each[part][..., None] for each in (self.sinks, self.slopes)
        )
        return Own(sinks, slopes)

    def mask(self, mask: Tensor | None, away: Tensor | None) -> Tensor | None:
        """Add what slopes make of how far keys are, where there are some.

        Shapes: mask and away [R, 1, rows or 1, S]; returns [R, K, rows, S].
        Dtypes: float32, where there are slopes.
        """
        if self.slopes is None:
            return mask
        assert away is not None, "who has slopes asks how far keys are"
        steep = self.slopes * away
        return steep if mask is None else steep.add_(mask)


NOTHING = Own(None, None)


def own_of(spec: AttentionSpec, behind: Sequence[Tensor], queries: int = 1) -> Own:
    """Give what heads have, from the operands behind a node's state, for so many queries."""
    if not behind:
        return NOTHING
    sinks, slopes = spec.told_apart(behind)
    return Own(_by_row(sinks, spec, queries), _by_row(slopes, spec, queries))


def _by_row(each: Tensor | None, spec: AttentionSpec, queries: int) -> Tensor | None:
    if each is None:
        return None
    return each.view(spec.num_kv_heads, -1).repeat(1, queries)[..., None]
