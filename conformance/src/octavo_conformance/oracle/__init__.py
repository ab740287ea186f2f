"""The oracle: what every op means, in numpy and float64, written for reading.

Each op of the catalogue is one plain function of its inputs, its attributes as keywords. A
state is the tuple of its planes: keys and values, [B, P, K, D] each, or latents, [B, P, C].
A mixer of a recurrent state gets the one plane that it carries, [B, ...].
`ORACLE` names them all; `platform` makes a platform of them, slow and right, by which every
other is judged.

Knows nothing of any device, of speed, or of the suite that asks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from octavo_conformance.oracle import (
    adapters,
    attention,
    choice,
    cross,
    dense,
    encoder,
    experts,
    latent,
    mixed,
    recurrent,
    rope,
    rows,
    scores,
    seats,
    shaping,
)

ORACLE: Mapping[str, Callable[..., object]] = MappingProxyType(
    {
        op.__name__: op
        for op in (
            rows.embedding,
            rows.gather_rows,
            rows.scatter_rows,
            rows.positions,
            rows.slots,
            rows.split,
            rows.heads,
            rows.flatten,
            dense.linear,
            dense.rms_norm,
            dense.add,
            dense.mul,
            dense.silu,
            dense.sigmoid,
            dense.cast,
            dense.add_rms_norm,
            dense.silu_gate,
            dense.layer_norm,
            dense.gelu,
            dense.gelu_tanh,
            dense.relu,
            dense.scale,
            dense.softcap,
            dense.clamp,
            dense.sharpen,
            rope.rope_table,
            rope.rotary,
            attention.kv_write,
            attention.kv_read,
            attention.attention,
            attention.rotary_kv_write,
            latent.latent_write,
            latent.latent_read,
            latent.latent_attention,
            recurrent.ring_rows,
            recurrent.time_steps,
            recurrent.causal_conv,
            recurrent.selective_scan,
            recurrent.gated_delta,
            recurrent.state_copy,
            choice.sample,
            encoder.encoder_attention,
            encoder.mean_rows,
            cross.cross_attention,
            mixed.mix_rows,
            mixed.rope_sections,
            adapters.lora_delta,
            experts.route,
            experts.group_rows,
            experts.grouped_linear,
            experts.combine,
            scores.mask_logits,
            scores.score,
            scores.most_likely,
            shaping.bias_logits,
            shaping.penalise_logits,
            shaping.truncate_logits,
            seats.pick,
            seats.owners,
            seats.draft_rows,
            seats.accept,
            seats.last_rows,
        )
    }
)

__all__ = ["ORACLE"]
