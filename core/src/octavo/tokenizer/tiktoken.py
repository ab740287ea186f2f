"""Tiktoken files: one token and its rank to a line, as `*.tiktoken` or a `tokenizer.model`.

The file has neither the rule that cuts text into words nor special tokens. The rule follows from
the file's name, by a table; special tokens are what the folder's settings list. A name without a
row is refused: another rule would give other tokens.

Knows nothing of the settings.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import tokenizers
from tokenizers import models

from octavo.errors import ModelError
from octavo.tokenizer.words import CL100K, GPT2, O200K, QWEN, WordRule, cut_by

# Source: tiktoken_ext/openai_public.py; llama3/tokenizer.py; Qwen, tokenization_qwen.py.
WORDS: Mapping[str, WordRule] = MappingProxyType(
    {
        "gpt2": GPT2,
        "r50k_base": GPT2,
        "p50k_base": GPT2,
        "cl100k_base": CL100K,
        "o200k_base": O200K,
        "tokenizer": CL100K,  # Llama 3's own release
        "qwen": QWEN,
    }
)


def backend_of(path: Path) -> tokenizers.Tokenizer:
    """Build the tokenizer of a tiktoken file.

    Raises: ModelError, for a malformed file or one whose rule of words is not known.
    """
    words = WORDS.get(path.stem)
    if words is None:
        raise ModelError(
            f"{path} does not say how text is cut into words, and no rule is known for its name; "
            f"known are {', '.join(WORDS)}. Use a folder with a tokenizer.json."
        )
    backend = tokenizers.Tokenizer(byte_pairs(_ranks(path)))
    cut_by(words, backend)
    return backend


def byte_pairs(ranks: Mapping[bytes, int], *, before: Sequence[str] = ()) -> models.BPE:
    """Build merges from tokens and their ranks; their ids follow those of tokens `before`."""
    spelled = {token: _spelling(token) for token in ranks}
    vocabulary = {token: place for place, token in enumerate(before)}
    vocabulary |= {spelled[token]: len(before) + rank for token, rank in ranks.items()}
    merges = [
        (spelled[left], spelled[right])
        for token in sorted(ranks, key=ranks.__getitem__)
        for left, right in _halves(token, ranks)
    ]
    return models.BPE(vocabulary, merges, ignore_merges=True)


def _ranks(path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError as error:
            raise ModelError(
                f"{path} is no tiktoken file: line {number} is not a token in base64 and its rank. "
                "Fetch it again."
            ) from error
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing or sorted(ranks.values()) != list(range(len(ranks))):
        raise ModelError(
            f"{path} is no whole tiktoken file: {len(missing)} single bytes are missing, or ranks "
            f"do not count from 0 to {len(ranks) - 1}. Fetch it again."
        )
    return ranks


def _halves(token: bytes, ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Give all ways to make a token of two others."""
    cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
    found = [(left, right) for left, right in cuts if left in ranks and right in ranks]
    return sorted(found, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))


def _spelling(token: bytes) -> str:
    return "".join(_CHARACTER_OF[byte] for byte in token)


def _characters() -> tuple[str, ...]:
    """Give the character that stands for each byte.

    Source: GPT-2, encoder.py, `bytes_to_unicode`.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return tuple(
        chr(byte) if byte in printable else chr(0x100 + others.index(byte)) for byte in range(256)
    )


_CHARACTER_OF = _characters()
