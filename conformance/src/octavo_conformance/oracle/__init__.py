"""The oracle: what every op means, in numpy and float64, written for reading.

Each op of the catalogue is one plain function of its inputs, its attributes as keywords. A
state is the pair of its planes, each [B, P, K, D]. `ORACLE` names them all; `platform` makes
a platform of them, slow and right, by which every other is judged.

Knows nothing of any device, of speed, or of the suite that asks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from octavo_conformance.oracle import (
    adapters,
    attention,
    choice,
    dense,
    encoder,
    experts,
    rope,
    rows,
    scores,
    seats,
)

ORACLE: Mapping[str, Callable[..., object]] = MappingProxyType(
    {
        op.__name__: op
        for op in (
            rows.embedding,
            rows.gather_rows,
            rows.scatter_rows,
            rows.positions,
            rows.request_of,
            rows.slots,
            rows.split,
            rows.heads,
            rows.flatten,
            dense.linear,
            dense.rms_norm,
            dense.add,
            dense.mul,
            dense.silu,
            dense.cast,
            dense.add_rms_norm,
            dense.silu_gate,
            rope.rope_table,
            rope.rotary,
            attention.kv_write,
            attention.kv_read,
            attention.attention,
            attention.rotary_kv_write,
            choice.sample,
            encoder.encoder_attention,
            encoder.mean_rows,
            adapters.lora_delta,
            experts.route,
            experts.group_rows,
            experts.grouped_linear,
            experts.combine,
            scores.mask_logits,
            scores.score,
            seats.pick,
            seats.owners,
            seats.draft_rows,
            seats.accept,
        )
    }
)

__all__ = ["ORACLE"]
