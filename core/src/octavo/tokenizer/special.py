"""What both kinds of tokenizer file say of special tokens, brought into one form.

Knows nothing of either file.
"""

from __future__ import annotations

from collections.abc import Mapping

ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def eos_ids_of(*configs: Mapping[str, object]) -> frozenset[int]:
    """Collect the ids that end an output: `eos_token_id` may be one id, several or absent."""
    ids: set[int] = set()
    for config in configs:
        match config.get("eos_token_id"):
            case int(one):
                ids.add(one)
            case [*several]:
                ids.update(token_id for token_id in several if isinstance(token_id, int))
    return frozenset(ids)
