"""The text of an output while it is made: whole characters, and never past a stop string.

    tokens ──stream──▶ text ──stops──▶ new text
                              └─ held back: what may yet become a stop string

All pieces together are the text of the whole, to the byte, up to the stop string; how the tokens
were cut into pushes changes nothing. Most tokens are text of their own: as long as nothing is held
back, such a token costs a look into a dict, and into its characters where there are stop strings.
Where a stop string may have begun, each character costs it one comparison (amortised), whatever
its length.

Knows nothing of requests or of stop *tokens*: whoever pushes ids has ended the output there.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.tokenizer import Tokenizer


class Detokenizer:
    """Turns one output's tokens into text as they come.

    `prompt` is the context that decides whether a leading space belongs to the text and what an
    unfinished character becomes. Its own text is not given, and stop strings do not look at it.
    A stop string that is complete within the first `min_tokens` tokens ends nothing.

    `text_of` and `is_plain` are the quick road: a token that has a text there may be left out of
    `push` while `is_plain` holds, as its text is that and nothing changes.

    Raises: ValueError, for an empty stop string.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Sequence[int] = (),
        *,
        stop: Sequence[str] = (),
        include_stop: bool = False,
        min_tokens: int = 0,
        skip_special_tokens: bool = True,
    ) -> None:
        if "" in stop:
            raise ValueError("A stop string must not be empty.")
        self._stream = tokenizer.stream(skip_special_tokens=skip_special_tokens)
        self._stream.skip(prompt)
        self._stops = tuple(_StopString(text) for text in dict.fromkeys(stop))
        self._first_characters = frozenset(text[0] for text in stop)
        self._include_stop = include_stop
        self._num_early_tokens = min_tokens
        self._is_calm = False
        self._held = ""
        self.stopped_by: str | None = None
        self.text_of = self._stream.plain
        self.is_plain = not stop and self._stream.is_at_rest

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that is now certain.

        After a stop string has ended the text, further tokens give nothing.

        Effects: `stopped_by` is the stop string that ended the text, if one has; `is_plain` says
            whether the next token may take the quick road.
        """
        if not self._stops:
            text = self._stream.feed(token_ids)
            self.is_plain = self._stream.is_at_rest
            return text
        if self._is_calm and len(token_ids) == 1:
            plain = self.text_of[token_ids[0]]
            if plain is not None and self._first_characters.isdisjoint(plain):
                return plain
        if self.stopped_by is not None:
            return ""
        num_early, self._num_early_tokens = self._num_early_tokens, 0
        text = ""
        if num_early:
            self._num_early_tokens = max(0, num_early - len(token_ids))
            text = self._before_stop(self._stream.feed(token_ids[:num_early]), can_end=False)
        text += self._before_stop(self._stream.feed(token_ids[num_early:]))
        self._is_calm = self._stream.is_at_rest and not (
            self._held or self._num_early_tokens or self.stopped_by
        )
        return text

    def finish(self) -> str:
        """Give the rest when no token follows: what was held back, and a broken character."""
        if self.stopped_by is not None:
            return ""
        rest = self._before_stop(self._stream.finish())
        rest, self._held = rest + self._held, ""
        return rest

    def _before_stop(self, text: str, *, can_end: bool = True) -> str:
        """Add text to what is held; give what can be no part of a stop string, or all before one.

        The stop string that is complete first ends the text; of several that end together, the
        longest. That depends on the text alone, not on how it came.
        """
        if not self._held and self._first_characters.isdisjoint(text):
            return text
        ends = [
            (end, stop)
            for stop in self._stops
            if (end := stop.feed(text, can_end=can_end)) is not None
        ]
        whole = self._held + text
        if not ends:
            num_held = max((stop.num_matched for stop in self._stops), default=0)
            certain = len(whole) - num_held
            self._held = whole[certain:]
            return whole[:certain]
        end, stop = min(ends, key=lambda found: (found[0], -len(found[1].text)))
        end += len(self._held)
        self._held = ""
        self.stopped_by = stop.text
        return whole[: end if self._include_stop else end - len(stop.text)]


class _StopString:
    """Finds one stop string in text that comes in pieces.

    Source: Knuth, Morris, Pratt, "Fast pattern matching in strings", 1977: `_shorter[n]` is the
        longest proper prefix of the first n + 1 characters that is also their suffix.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.num_matched = 0
        self._shorter = [0] * len(text)
        length = 0
        for position in range(1, len(text)):
            while length and text[position] != text[length]:
                length = self._shorter[length - 1]
            length += text[position] == text[length]
            self._shorter[position] = length

    def feed(self, piece: str, *, can_end: bool) -> int | None:
        """Read on; give where in this piece the stop string is complete, if that may be.

        Effects: `num_matched` is the length of the text's end that begins the stop string.
        """
        text, matched = self.text, self.num_matched
        position = 0
        while position < len(piece):
            if not matched:
                position = piece.find(text[0], position)
                if position < 0:
                    break
            character = piece[position]
            while matched and text[matched] != character:
                matched = self._shorter[matched - 1]
            matched += text[matched] == character
            position += 1
            if matched == len(text):
                if can_end:
                    return position
                matched = self._shorter[matched - 1]
        self.num_matched = matched
        return None
