"""Untouched: what a plugin does not own is the same object after it was loaded as before.

A snapshot holds every attribute of some packages' modules and of the classes they define, and
what their dicts, lists and sets hold. Loading a plugin may import modules; it may replace,
add or remove nothing in any that is not its own.

Knows nothing of what the attributes are for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from types import ModuleType

from octavo_platforms.discover import GROUP
from octavo_platforms.loaded import Platform

OURS = "octavo"
Snapshot = Mapping[str, tuple[object, ...]]


def snapshot(packages: Iterable[str]) -> Snapshot:
    """Hold what the loaded modules of some packages are made of, by dotted name."""
    wanted = frozenset(packages)
    return {
        name: held
        for path, module in list(sys.modules.items())
        if path.partition(".")[0] in wanted
        for name, held in _parts(module)
    }


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Say what was replaced, added or removed in modules that both snapshots know."""
    known = {name.partition(":")[0] for name in before}
    replaced = [
        f"{name} was {'replaced' if name in after else 'removed'}"
        for name in before
        if name not in after or not _same(before[name], after[name])
    ]
    added = [
        f"{name} was added"
        for name in after
        if name not in before and name.partition(":")[0] in known
    ]
    return sorted(replaced + added)


def loaded_by(origin: str) -> list[str]:
    """Load a plugin and name the modules of Octavo that this imported and it does not own."""
    _load(origin)
    own = _own(origin)
    return sorted(
        path
        for path in sys.modules
        if path.startswith(OURS) and path.partition(".")[0] not in (own, __package__)
    )


def changed_by(origin: str, modules: Iterable[str]) -> list[str]:
    """Import modules, then load a plugin, and say what that changed in them."""
    for path in modules:
        importlib.import_module(path)
    packages = {path.partition(".")[0] for path in modules}
    before = snapshot(packages)
    _load(origin)
    return changes(before, snapshot(packages))


def _load(origin: str) -> None:
    Platform(EntryPoint("platform", origin, GROUP).load()).probe()


def _own(origin: str) -> str:
    return origin.partition(":")[0].partition(".")[0]


def _parts(module: ModuleType) -> Iterator[tuple[str, tuple[object, ...]]]:
    path = module.__name__
    yield from _attributes(f"{path}:", vars(module))
    for name, value in list(vars(module).items()):
        if isinstance(value, type) and value.__module__ == path:
            yield from _attributes(f"{path}:{name}.", vars(value))


def _attributes(
    prefix: str, found: Mapping[str, object]
) -> Iterator[tuple[str, tuple[object, ...]]]:
    for name, value in list(found.items()):
        is_kept_by_python = name.startswith(("__", "_abc_")) and not callable(value)
        if not is_kept_by_python and not isinstance(value, ModuleType):
            yield f"{prefix}{name}", (value, *_contents(value))


def _contents(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list | set) else ()


def _same(ours: tuple[object, ...], theirs: tuple[object, ...]) -> bool:
    return len(ours) == len(theirs) and all(
        one is other for one, other in zip(ours, theirs, strict=True)
    )
