"""Amounts of memory, as people write and read them.

Knows nothing of what they are of.
"""

from __future__ import annotations

from octavo.errors import OperatorError


def parse_bytes(text: str) -> int:
    """Read a number of bytes such as `1g`, `512m`, `1.5GiB` or `4096`; letters are powers of 1024.

    Raises: OperatorError where the text is no such number.
    """
    stem = text.strip().lower().removesuffix("b").removesuffix("i")
    power = " kmgt".find(stem[-1:]) if stem[-1:].isalpha() else 0
    digits = stem[:-1] if power else stem
    try:
        if power < 0:
            raise ValueError(stem)
        count = int(float(digits) * 1024**power)
    except (ValueError, OverflowError):
        raise OperatorError(
            f"'{text}' is not a size in bytes. Write it as 1073741824, 512m or 1g."
        ) from None
    return count


def show_bytes(count: int) -> str:
    """Write a number of bytes for people: `640 KiB`, `1.5 GiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
