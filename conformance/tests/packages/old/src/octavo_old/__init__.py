"""A platform of another age. Whoever imports it did not read its metadata."""

from __future__ import annotations

raise RuntimeError("a plugin made for another contract was imported")
