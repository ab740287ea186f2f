"""What all kinds of tokenizer file say of special tokens, brought into one form.

Knows nothing of any file.
"""

from __future__ import annotations

from collections.abc import Mapping

import tokenizers
from tokenizers.processors import TemplateProcessing

from octavo.errors import ModelError


def eos_ids_of(*configs: Mapping[str, object]) -> frozenset[int]:
    """Collect the ids that end an output: `eos_token_id` may be one id, several or absent.

    Raises: ModelError, for anything else, without which outputs would never end.
    """
    ids: set[int] = set()
    for config in configs:
        given = config.get("eos_token_id")
        several = given if isinstance(given, list | tuple) else [] if given is None else [given]
        for each in several:
            if not isinstance(each, int):
                raise ModelError(f"'eos_token_id' has to be an id or a list of ids, not {given!r}")
            ids.add(each)
    return frozenset(ids)


def surround(backend: tokenizers.Tokenizer, *, first: str | None, last: str | None) -> None:
    """Make a tokenizer put a first and a last token around each text; None puts nothing.

    Effects: replaces the post-processor. The tokens are in the vocabulary.
    """
    parts = [*([first] if first else []), "$A", *([last] if last else [])]
    tokens = {token: backend.token_to_id(token) for token in (first, last) if token}
    backend.post_processor = TemplateProcessing(
        single=" ".join(parts), special_tokens=list(tokens.items())
    )
