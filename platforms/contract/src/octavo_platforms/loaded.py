"""A loaded platform: a plugin, its overrides, and whatever stands behind it.

Hooks are asked from the front: overrides first, then the plugin, then the platform it
extends. Each implementation is called by hand rather than through pluggy's call loop, so
that every answer, refusal and error carries the name of who gave it.

Knows nothing of entry points (`discover`) nor of graphs (`bind`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pluggy

from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, PlatformInfo, Probe
from octavo_platforms.errors import CannotBind, CannotStart, Refused
from octavo_platforms.foreign import ForeignModel, ForeignSpec
from octavo_platforms.hooks import PROJECT, PlatformHooks
from octavo_platforms.ops import STANDARD, Catalogue, PrivateOp
from octavo_platforms.ops.private import problem
from octavo_platforms.platform import DeviceContext, Memory, Program, Run, Unsupported
from octavo_platforms.ranks import Communicator, GroupSpec
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
    """A plugin object as core sees it.

    `catalogue` holds the standard ops and the private ones of everything that is asked.
    """

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
        self.private_ops: tuple[PrivateOp, ...] = tuple(self._private_ops())
        self.catalogue: Catalogue = STANDARD.with_ops(*(each.op for each in self.private_ops))

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
        """Open devices. Raises: CannotStart, also for ranks where it offers none."""
        name, form, ranks = self.info.name, self.info.ranks, settings.ranks
        if ranks > 1 and form == "single":
            raise CannotStart(
                f"'{name}' runs a program on one rank, and {ranks} were asked for; choose another "
                "--device, or one rank"
            )
        if not 0 <= settings.rank < ranks:
            raise CannotStart(f"rank {settings.rank} is not one of {ranks}, which start at 0")
        found = self._first("open_device", devices=devices, settings=settings)
        context: DeviceContext = _given(found, object, "open_device")  # type: ignore[assignment]
        return context

    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the memory of opened devices. Raises: CannotStart."""
        found = self._first("make_memory", context=context)
        memory: Memory = _given(found, object, "make_memory")  # type: ignore[assignment]
        return memory

    def make_communicator(self, spec: GroupSpec, context: DeviceContext) -> Communicator:
        """Give a group of ranks to talk to, without meeting them yet. Raises: CannotStart."""
        found = self._first("make_communicator", spec=spec, context=context)
        made: Communicator = _given(found, object, "make_communicator")  # type: ignore[assignment]
        return made

    def bind_model(self, spec: ForeignSpec, context: DeviceContext) -> ForeignModel:
        """Find who runs a model that has no graph. Raises: CannotBind, with every refusal."""
        refusals: list[str] = []
        for implementation in self.implementations("bind_model"):
            answer = implementation.call(spec=spec, context=context)
            if isinstance(answer, ForeignModel):
                return answer
            if isinstance(answer, Unsupported):
                refusals.append(f"{implementation.provider}: {answer.reason}")
        reasons = "; ".join(refusals) or "it runs graphs alone"
        raise CannotBind(
            f"the platform '{self.info.name}' cannot run a model without a graph here: {reasons}"
        )

    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Make a program ready to launch. Raises: CannotStart."""
        found = self._first("compile", spec=spec, context=context)
        program: Program = _given(found, object, "compile")  # type: ignore[assignment]
        return program

    def _private_ops(self) -> Iterator[PrivateOp]:
        provider_of: dict[str, str] = {}
        for implementation in self.implementations("private_ops"):
            provider = implementation.provider
            for each in _given(implementation.call(), tuple, "private_ops"):
                name, reason = each.op.name, problem(each)
                if reason is not None:
                    raise Refused(f"{provider}: {reason}")
                if name in provider_of:
                    raise Refused(
                        f"the op '{name}' is registered by {provider_of[name]} and by {provider}; "
                        "one registers it, and the other only answers bind_op for it"
                    )
                provider_of[name] = provider
                yield each

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
