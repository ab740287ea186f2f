"""A tokenizer: text to ids and back, and which ids mean more than their text.

Knows nothing of the file that it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import tokenizers

from octavo.tokenizer.pieces import tables_of
from octavo.tokenizer.stream import TextStream, stream_maker


class Tokenizer:
    """One model's tokenizer.

    `special_tokens` gives a special token's text by its role (`bos_token`, `eos_token`, ...), as
    chat templates ask for it. `eos_ids` are all the ids that end an output. `chat_templates` are
    what came with the vocabulary, by name; where there is only one, it is `default`.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        special_tokens: Mapping[str, str] = MappingProxyType({}),
        eos_ids: frozenset[int] = frozenset(),
        chat_templates: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._backend = backend
        self._make_stream = stream_maker(backend)
        self._bytes_of = tables_of(backend)(False).bytes_of
        self.special_tokens = MappingProxyType(dict(special_tokens))
        self.chat_templates = MappingProxyType(dict(chat_templates))
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self.bos_id = self._id_of("bos_token")
        eos_id = self._id_of("eos_token")
        self.eos_ids = eos_ids if eos_id is None else eos_ids | {eos_id}

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Give the ids of a text.

        Special tokens spelled out in the text are recognised; `add_special_tokens` adds what the
        model expects around a text, such as a first token.
        """
        ids: list[int] = self._backend.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def encode_segments(
        self, text: str, behind: str | None = None, *, max_tokens: int | None = None
    ) -> tuple[list[int], list[int]]:
        """Give the ids of a text, or of one and another behind it, and each id's segment.

        What the model expects around texts is added. With `max_tokens`, as many tokens are cut off
        the ends of the texts as are too many, from the longer one first.

        Raises: ValueError, where not even what stands around texts fits.
        """
        if max_tokens is None:
            made = self._backend.encode(text, behind)
            return made.ids, made.type_ids
        first = self._backend.encode(text, add_special_tokens=False)
        second = None
        if behind is not None:
            second = self._backend.encode(behind, add_special_tokens=False)
        around = self._backend.num_special_tokens_to_add(second is not None)
        room, others = max_tokens - around, 0 if second is None else len(second)
        if room < 1 + (second is not None):
            raise ValueError(
                f"{max_tokens} tokens are too few for a text: {around} stand around it"
            )
        half = min(others, room // 2)
        kept = min(len(first), room - half)
        first.truncate(kept)
        if second is not None:
            second.truncate(min(others, room - kept))
        made = self._backend.post_process(first, second)
        return made.ids, made.type_ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Give the text of ids; ids that are not in the vocabulary have none."""
        text: str = self._backend.decode(token_ids, skip_special_tokens=skip_special_tokens)
        return text

    def stream(self, *, skip_special_tokens: bool) -> TextStream:
        """Start the text of an output whose tokens come one after the other."""
        return self._make_stream(skip_special_tokens)

    def token_id(self, token: str) -> int | None:
        """Give the id of a token by its spelling in the vocabulary."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def token_text(self, token_id: int) -> str | None:
        """Give a token's spelling in the vocabulary, where a space may be written Ġ or ▁."""
        found: str | None = self._backend.id_to_token(token_id)
        return found

    def token_bytes(self, token_id: int) -> bytes:
        """Give what a token adds to a text that has begun, as UTF-8, perhaps half a character.

        A special token is its spelling; an id that is not in the vocabulary adds nothing.
        """
        return self._bytes_of[token_id]

    def _id_of(self, role: str) -> int | None:
        token = self.special_tokens.get(role)
        return None if token is None else self.token_id(token)
