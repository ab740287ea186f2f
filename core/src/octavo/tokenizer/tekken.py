"""Tekken files, Mistral's own: ranked byte pairs as tiktoken has them, in JSON, with their rule.

    ids 0 to n - 1     special tokens: those listed, then fillers <SPECIAL_i>
    ids from n on      tokens of bytes, the commonest first; the file has more than the model

Knows nothing of conversations, or of what else is in the folder.
Source: mistral_common, `Tekkenizer`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import tokenizers
from tokenizers import AddedToken

from octavo.errors import ModelError
from octavo.tokenizer.tiktoken import byte_pairs
from octavo.tokenizer.words import WordRule, cut_by

ROLES: Mapping[str, str] = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"}

# What the first files had and did not list.
_UNLISTED = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()
_OLDER_VERSIONS = ("v1", "v2", "v3", "v7")


def backend_of(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """Build the tokenizer of a tekken file, and give its special tokens by role.

    Raises: ModelError, for a file that is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        config = found["config"]
        num_special = int(config["default_num_special_tokens"])
        num_tokens = int(config["default_vocab_size"]) - num_special
        special = _special(path, found.get("special_tokens"), str(config["version"]), num_special)
        listed = [
            base64.b64decode(each["token_bytes"], validate=True)
            for each in found["vocab"][:num_tokens]
        ]
        rule = WordRule((str(config["pattern"]),))
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{path} is no tekken file ({type(error).__name__}: {error}). Fetch it again."
        ) from error
    ranks = {token: rank for rank, token in enumerate(listed)}
    if len(ranks) != num_tokens or not all(bytes([byte]) in ranks for byte in range(256)):
        raise ModelError(
            f"{path} is no whole tekken file: of {num_tokens} tokens it has {len(ranks)}, or not "
            "every byte is among them. Fetch it again."
        )
    backend = tokenizers.Tokenizer(byte_pairs(ranks, before=special))
    cut_by(rule, backend)
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    return backend, {f"{role}_token": text for role, text in ROLES.items() if text in special}


def _special(path: Path, listed: object, version: str, count: int) -> list[str]:
    """Give the special tokens in the order of their ids.

    Raises: ModelError, where the file must list them and does not; LookupError, TypeError.
    """
    if listed is None:
        if version not in _OLDER_VERSIONS:
            raise ModelError(f"{path} (version {version}) lists no special tokens. Fetch it again.")
        names = _UNLISTED
    else:
        if not isinstance(listed, list):
            raise TypeError("'special_tokens' is no list")
        names = [str(each["token_str"]) for each in sorted(listed, key=lambda each: each["rank"])]
    return [*names, *(f"<SPECIAL_{place}>" for place in range(len(names), count))]
