"""The subject: one platform as it is found, before anything of it is trusted.

Knows nothing of cases.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo_platforms.discover import Candidate, installed
from octavo_platforms.discover import load as load_installed
from octavo_platforms.errors import NotFound
from octavo_platforms.loaded import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A platform under test.

    `origin` is where the plugin object is, as an entry point says it ("package:object");
    `own` the import name whose code counts as the plugin's own; `candidate` its package, None
    for one that was not found by discovery; `plugin` the object, where there is no package.
    """

    name: str
    origin: str
    candidate: Candidate | None = None
    plugin: object | None = None
    mode: str | None = None

    @property
    def own(self) -> str:
        """Give the import name whose code is the plugin's own."""
        return self.origin.partition(":")[0].partition(".")[0]

    def load(self) -> Platform:
        """Make a platform of it, each time anew. Raises: Refused."""
        if self.candidate is None:
            return Platform(self.plugin)
        return load_installed(self.name)


def find(device: str) -> Subject:
    """Find an installed platform by name, as `--device NAME[:MODE]` does.

    Raises: NotFound, with what is installed.
    """
    name, _, mode = device.partition(":")
    for candidate in installed():
        if candidate.name == name:
            origin = candidate.entry_point.value
            return Subject(name=name, origin=origin, candidate=candidate, mode=mode or None)
    names = ", ".join(sorted({each.name for each in installed()})) or "none"
    raise NotFound(f"there is no platform '{name}'; installed: {names}")


def given(plugin: object, *, name: str, origin: str, mode: str | None = None) -> Subject:
    """Take a plugin object that no package announces."""
    return Subject(name=name, origin=origin, plugin=plugin, mode=mode)
