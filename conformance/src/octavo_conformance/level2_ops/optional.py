"""What a platform may leave out: an op, or a spec of one, that only some models need.

A refusal when such a program is bound is no broken promise: models that need the op do not load
there, and are told why. Whoever binds it keeps it like any other. Knows no op.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from octavo_conformance.verdict import NotClaimed
from octavo_platforms.errors import CannotBind


@contextmanager
def optional() -> Iterator[None]:
    """Start a program that may be refused. Raises: NotClaimed, with the refusal."""
    try:
        yield
    except CannotBind as refused:
        raise NotClaimed(str(refused)) from refused
