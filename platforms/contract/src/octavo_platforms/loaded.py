"""A loaded platform: a plugin, its overrides, and whatever stands behind it.

Hooks are asked from the front: overrides first, then the plugin, then the platform it
extends. Each implementation is called by hand rather than through pluggy's call loop, so
that every answer, refusal and error carries the name of who gave it.

Knows nothing of entry points (`discover`) nor of graphs (`bind`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pluggy

from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, PlatformInfo, Probe
from octavo_platforms.errors import CannotStart, Refused
from octavo_platforms.hooks import PROJECT, PlatformHooks
from octavo_platforms.platform import DeviceContext, Memory, Program, Run
from octavo_platforms.specs import CompileSpec

T = TypeVar("T")


class HasOverrides(Protocol):
    """A plugin object that brings more plugin objects to be asked before itself."""

    @property
    def overrides(self) -> Sequence[object]:
        """Give them, the first asked first."""
        ...


@dataclass(frozen=True, slots=True)
class Implementation:
    """One implementation of a hook and the distribution's import name it comes from."""

    provider: str
    call: Run


class Platform:
    """A plugin object as core sees it."""

    def __init__(self, plugin: object, *, behind: object | None = None) -> None:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(PlatformHooks)
        for each in (behind, plugin):
            if each is None:
                continue
            manager.register(each)
            for override in reversed(_overrides(each)):
                manager.register(override)
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise Refused(f"{error}; octavo_platforms.hooks lists the hooks") from error
        self._manager = manager
        found = self._first("platform_info")
        if not isinstance(found, PlatformInfo):
            raise Refused("a platform has to implement platform_info and give a PlatformInfo")
        self.info: PlatformInfo = found

    def implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Give a hook's implementations, the one to be asked first in front."""
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return tuple(
            Implementation(each.function.__module__.split(".")[0], _taking(each))
            for each in reversed(caller.get_hookimpls())
        )

    def probe(self) -> Probe:
        """Ask whether there is a device."""
        return _given(self._first("probe"), Probe, "probe")

    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """Ask which devices there are."""
        return _given(self._first("discover_devices"), tuple, "discover_devices")

    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open devices. Raises: CannotStart."""
        found = self._first("open_device", devices=devices, settings=settings)
        context: DeviceContext = _given(found, object, "open_device")  # type: ignore[assignment]
        return context

    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the memory of opened devices. Raises: CannotStart."""
        found = self._first("make_memory", context=context)
        memory: Memory = _given(found, object, "make_memory")  # type: ignore[assignment]
        return memory

    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Make a program ready to launch. Raises: CannotStart."""
        found = self._first("compile", spec=spec, context=context)
        program: Program = _given(found, object, "compile")  # type: ignore[assignment]
        return program

    def _first(self, hook: str, **arguments: object) -> object:
        for implementation in self.implementations(hook):
            found = implementation.call(**arguments)
            if found is not None:
                return found
        return None


def _taking(implementation: pluggy.HookImpl) -> Run:
    """Give an implementation only the arguments that it names, as pluggy does."""

    def call(**arguments: object) -> object:
        wanted = {name: arguments[name] for name in implementation.argnames}
        found: object = implementation.function(**wanted)
        return found

    return call


def _overrides(plugin: object) -> Sequence[object]:
    found: Sequence[object] = getattr(plugin, "overrides", ())
    return found


def _given(found: object, kind: type[T], hook: str) -> T:
    if not isinstance(found, kind) or found is None:
        raise CannotStart(f"the platform gives no {hook} ({type(found).__name__})")
    return found
