"""Tokenizers: text to token ids, and token ids to text, whole or as they come.

`hf` reads a folder: its tokenizer.json or, where there is none, a tekken file (`tekken`), a
SentencePiece model (`spm`), a tiktoken file (`tiktoken`) or a bare vocabulary (`slow`); `gguf`
builds the same thing from a GGUF file's metadata. How text is cut into words, where a file gives
only a name for it, is in `words`.
All give one `Tokenizer`: the `tokenizers` library's encoder, and what a model says of its
special tokens. `stream` is the way back for text that is still being made: it never gives half a
character, and all that it gives is what decoding the whole would have given.

A tokenizer may be shared by threads. To test: build a tiny vocabulary by hand.

Knows nothing of chats, stop strings or requests.
"""

from octavo.tokenizer.stream import TextStream
from octavo.tokenizer.text import Tokenizer

__all__ = ["TextStream", "Tokenizer"]
