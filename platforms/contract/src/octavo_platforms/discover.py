"""Discovery: which platforms are installed, and loading the one that was chosen.

Platforms announce themselves in the entry-point group `octavo.platforms`. Only the selected
one is imported, and only after its metadata says that it was made for this contract. Two
distributions with one platform name are an error that names both.

Knows nothing of what a platform can do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from octavo_platforms.errors import NotFound, Refused
from octavo_platforms.loaded import Platform
from octavo_platforms.version import CONTRACT, DISTRIBUTION

GROUP = "octavo.platforms"
_PIN = re.compile(
    r"^octavo[-_]platforms\s*\(?\s*(?:==|~=)\s*(\d+)\.(\d+)(?:\.(?:\*|\d+))?\s*\)?\s*$", re.I
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed platform, known from metadata alone.

    `refusal` says why it may not be loaded, None if it may.
    """

    name: str
    distribution: str
    version: str
    entry_point: metadata.EntryPoint
    refusal: str | None


def installed() -> tuple[Candidate, ...]:
    """List the installed platforms by name, without importing one."""
    found = [
        _candidate(entry_point, entry_point.dist)
        for entry_point in metadata.entry_points(group=GROUP)
        if entry_point.dist is not None
    ]
    return tuple(sorted(found, key=lambda each: (each.name, each.distribution)))


def load(name: str, candidates: Sequence[Candidate] | None = None) -> Platform:
    """Import one platform, and the one that it extends.

    Raises: NotFound, with what is installed; Refused, for two of one name or a contract
        number that is not ours.
    """
    known = installed() if candidates is None else candidates
    plugin = _plugin(_pick(name, known))
    platform = Platform(plugin)
    if platform.info.extends is None:
        return platform
    return Platform(plugin, behind=_plugin(_pick(platform.info.extends, known)))


def _pick(name: str, known: Sequence[Candidate]) -> Candidate:
    named = [each for each in known if each.name == name]
    if not named:
        names = ", ".join(sorted({each.name for each in known})) or "none"
        raise NotFound(
            f"there is no platform '{name}'; installed: {names}. "
            f"Platforms come as packages: pip install octavo-plugin-{name}"
        )
    if len(named) > 1:
        owners = " and ".join(f"{each.distribution} {each.version}" for each in named)
        raise Refused(f"the platform '{name}' is announced by {owners}; uninstall one of them")
    (only,) = named
    if only.refusal is not None:
        raise Refused(f"the platform '{name}' cannot be used: {only.refusal}")
    return only


def _plugin(candidate: Candidate) -> object:
    try:
        plugin: object = candidate.entry_point.load()
    except Exception as error:  # a plugin's code may fail in any way, and must not end us
        raise Refused(
            f"the platform '{candidate.name}' ({candidate.distribution} {candidate.version}) "
            f"cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return plugin


def _candidate(entry_point: metadata.EntryPoint, owner: metadata.Distribution) -> Candidate:
    name = owner.metadata["Name"]
    return Candidate(entry_point.name, name, owner.version, entry_point, _refusal(owner))


def _refusal(owner: metadata.Distribution) -> str | None:
    ours = f"{CONTRACT[0]}.{CONTRACT[1]}"
    for requirement in owner.requires or ():
        if not re.match(rf"{DISTRIBUTION}\b", requirement.replace("_", "-"), re.I):
            continue
        pin = _PIN.match(requirement)
        if pin is None:
            return (
                f"it requires '{requirement}', which names no contract number; "
                f"write '{DISTRIBUTION}=={ours}.*'"
            )
        theirs = f"{pin[1]}.{pin[2]}"
        if theirs != ours:
            return f"it was made for contract {theirs}, and this is contract {ours}"
        return None
    return f"it does not require {DISTRIBUTION}; write '{DISTRIBUTION}=={ours}.*'"
