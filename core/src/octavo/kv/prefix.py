"""Names of full blocks: equal names mean equal contexts up to the block's end.

    name 0 = H(H(salt) + tokens 0..P-1)    name 1 = H(name 0 + tokens P..2P-1)    ...

A name covers all tokens before it, so one lookup answers for a whole prefix. Names are made
when they are first needed and kept.

Knows nothing of requests, seats or where a block is.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NewType

from octavo_platforms.inputs import Ints

BlockName = NewType("BlockName", bytes)

_NAME_BYTES = 16


class Chain:
    """The names of one context's full blocks, from the first on.

    Chains of different salts never share a name.
    """

    __slots__ = ("_names", "_root")

    def __init__(self, salt: str = "") -> None:
        self._root = _digest(salt.encode())
        self._names: list[BlockName] = []

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
            names.append(_digest((names[-1] if names else self._root) + tokens.tobytes()))
        return names[index]


def _digest(content: bytes) -> BlockName:
    return BlockName(blake2b(content, digest_size=_NAME_BYTES).digest())
