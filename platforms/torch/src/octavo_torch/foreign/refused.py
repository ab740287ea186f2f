"""The refusal of a foreign model, with its reason.

Knows nothing of who asks.
"""

from __future__ import annotations


class Refused(Exception):
    """A model that would not run, or would compute something else than it should."""
