"""The text of an output while it is made: whole characters, and never past a stop string.

    tokens ──stream──▶ text ──stops──▶ delta
                              └─ held back: what may yet become a stop string

All deltas together are the text of the whole, to the byte, up to the stop string; how the tokens
were cut into pushes changes nothing. A character of text costs each stop string one comparison
(amortised), whatever its length.

Knows nothing of requests or of stop *tokens*: whoever pushes ids has ended the output there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New text, and the stop string that ended it."""

    text: str
    stopped_by: str | None


class Detokenizer:
    """Turns one output's tokens into text as they come.

    `prompt_tail` are the prompt's last tokens, or all: the context that decides whether a leading
    space belongs to the text and what an unfinished character becomes. Their own text is not
    given, and stop strings do not look at it.

    Raises: ValueError, for an empty stop string.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_tail: Sequence[int] = (),
        *,
        stop: Sequence[str] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
    ) -> None:
        if "" in stop:
            raise ValueError("A stop string must not be empty.")
        self._stream = tokenizer.stream(skip_special_tokens=skip_special_tokens)
        self._stream.skip(prompt_tail)
        self._stops = tuple(_StopString(text) for text in dict.fromkeys(stop))
        self._first_characters = frozenset(text[0] for text in stop)
        self._include_stop = include_stop
        self._held = ""
        self._stopped_by: str | None = None

    @property
    def stopped_by(self) -> str | None:
        """Give the stop string that ended the text, if one has."""
        return self._stopped_by

    def push(self, token_ids: Sequence[int]) -> TextDelta:
        """Take the next tokens; give the text that is now certain.

        After a stop string has ended the text, further tokens give nothing.
        """
        if self._stopped_by is not None:
            return TextDelta("", self._stopped_by)
        text = self._stream.feed(token_ids)
        if self._held or not self._first_characters.isdisjoint(text):
            text = self._until_stop(text)
        return TextDelta(text, self._stopped_by)

    def finish(self) -> str:
        """Give the rest when no token follows: what was held back, and a broken character."""
        if self._stopped_by is not None:
            return ""
        rest = self._until_stop(self._stream.finish())
        rest, self._held = rest + self._held, ""
        return rest

    def _until_stop(self, text: str) -> str:
        """Add text to what is held; give what can be no part of a stop string, or all before one.

        The stop string that is complete first ends the text; of several that end together, the
        longest. That depends on the text alone, not on how it came.
        """
        ends = [(end, stop) for stop in self._stops if (end := stop.feed(text)) is not None]
        whole = self._held + text
        if not ends:
            num_held = max((stop.num_matched for stop in self._stops), default=0)
            certain = len(whole) - num_held
            self._held = whole[certain:]
            return whole[:certain]
        end, stop = min(ends, key=lambda found: (found[0], -len(found[1].text)))
        end += len(self._held)
        self._held = ""
        self._stopped_by = stop.text
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

    def feed(self, piece: str) -> int | None:
        """Read on; give where in this piece the stop string is complete.

        Effects: `num_matched` is the length of the text's end that begins the stop string.
        """
        text, matched = self.text, self.num_matched
        start = 0
        if not matched:
            start = piece.find(text[0])
            if start < 0:
                return None
        for position in range(start, len(piece)):
            character = piece[position]
            while matched and text[matched] != character:
                matched = self._shorter[matched - 1]
            matched += text[matched] == character
            if matched == len(text):
                return position + 1
        self.num_matched = matched
        return None
