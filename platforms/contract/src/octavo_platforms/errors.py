"""What can go wrong between core and a platform.

    PlatformError
    ├── NotFound       no platform, or no device, by that name
    ├── Refused        a platform that may not be used: its contract number, its name
    ├── CannotStart    a device that was found, but does not open
    ├── CannotBind     an op, or a foreign model, that nobody provides, with every refusal
    ├── RankLost       a peer of the same program that does not answer any more
    └── CannotLoad     a foreign model whose files or results are not what they should be

Knows nothing of who shows the message.
"""

from __future__ import annotations


class PlatformError(Exception):
    """Root of the errors of this contract."""


class NotFound(PlatformError):
    """No platform, or no device, by that name."""


class Refused(PlatformError):
    """A platform that may not be used, and why."""


class CannotStart(PlatformError):
    """A device that was found but does not open."""


class CannotBind(PlatformError):
    """An op, or a foreign model, that nobody provides; the message lists every refusal."""


class RankLost(PlatformError):
    """A peer of the same program that does not answer any more; what ran together is over."""


class CannotLoad(PlatformError):
    """A foreign model whose files do not hold what it needs, or that computes something else."""
