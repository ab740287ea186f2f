"""Names of full blocks: equal names mean equal contexts up to the block's end.

    root = H(salt, adapter, and an age that is not 0)
    name 0 = H(root + tokens 0..P-1)    name 1 = H(name 0 + tokens P..2P-1 + media)    ...

A name covers all tokens before it, so one lookup answers for a whole prefix. What else a block's
content depends on is in its name too: who may share it, by whose weights it was computed, behind
which reset, and which pictures stand behind its tokens. Names are made when they are first needed
and kept.

Knows nothing of who runs, of seats, or where a block is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from octavo.kv.pool import BlockName
from octavo.request import NO_KEYS, CacheKeys
from octavo_platforms.inputs import Ints

_NAME_BYTES = 16
_TOKEN_BYTES = 4
# Empty hashes, of which copies are made in half the time of a hash with its options.
_ROOT = blake2b(digest_size=_NAME_BYTES, person=b"octavo root")
_BLOCK = blake2b(digest_size=_NAME_BYTES, person=b"octavo block")


class Chain:
    """The names of one context's full blocks, from the first on; those of another age differ."""

    __slots__ = ("_media", "_names", "_root")

    def __init__(self, keys: CacheKeys = NO_KEYS, *, age: int = 0) -> None:
        texts = (keys.salt, keys.adapter, *([str(age)] if age else ()))
        # A client's text may be no text: JSON can say half a character.
        parts = (text.encode(errors="surrogatepass") for text in texts)
        hashed = _ROOT.copy()
        hashed.update(_joined(*parts))
        self._root = hashed.digest()
        self._media = tuple(keys.media)
        self._names: list[BlockName] = []

    @property
    def names(self) -> Sequence[BlockName]:
        """Give the names that were made so far."""
        return self._names

    def name(self, index: int, context: Ints, block_size: int) -> BlockName:
        """Give the name of a full block, naming those before it first.

        Shapes: context [at least (index + 1) * block_size], its first tokens the same in
            every call.
        """
        names = self._names
        while len(names) <= index:
            start = len(names) * block_size
            tokens = context[start : start + block_size]
            assert len(tokens) == block_size, "only full blocks have names"
            self.extended(len(names), tokens.tobytes())
        return names[index]

    def walk(self, context: Ints, block_size: int) -> Iterator[BlockName]:
        """Give the names of a context's full blocks, in order, each made when it is asked for."""
        content, num_bytes = context.view("u1").data, block_size * _TOKEN_BYTES
        for index in range(len(context) // block_size):
            yield self.extended(index, content[index * num_bytes : (index + 1) * num_bytes])

    def extended(self, index: int, tokens: bytes | memoryview) -> BlockName:
        """Give the name of a full block by its tokens' bytes; those before it have theirs."""
        names = self._names
        count = len(names)
        if index < count:
            return names[index]
        assert index == count, "names are made in order"
        hashed = _BLOCK.copy()
        hashed.update((names[-1] if names else self._root) + tokens)
        if self._media:
            hashed.update(self._seen(index, len(tokens) // _TOKEN_BYTES))
        name = BlockName(hashed.digest())
        names.append(name)
        return name

    def _seen(self, index: int, block_size: int) -> bytes:
        """Say which media stand in a block, and where each begins."""
        first, stop = index * block_size, (index + 1) * block_size
        inside = (
            each
            for each in self._media
            if each.first < stop and first < each.first + each.num_tokens
        )
        return b"".join(_joined(f"{each.first}".encode(), each.digest) for each in inside)


def _joined(*parts: bytes) -> bytes:
    """Join parts so that no other parts give the same."""
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)
