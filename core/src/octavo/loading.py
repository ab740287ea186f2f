"""From settings to a model that answers: find, choose, fit, bind, compile, warm up.

    find ─> road ─┐
    choose ─> open ┴> facts ─> resolve ─> program ─> bind ─> compiled ─> warm up ─> Engine

Everything up to `bind` reads shapes only, so that `octavo plan` shows it, and what does not
fit is known before a weight is read.

Knows no device by name, no framework and no face, nor which road a model takes (`roads`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.asking import SamplingParams, default_sampling
from octavo.bars import Bar, bar
from octavo.batch import Batch
from octavo.config import PlatformFacts, Resolved, Settings, resolve, show_bytes
from octavo.engine import Engine
from octavo.errors import DeviceError, ModelError
from octavo.graph.cost import Load
from octavo.graph.show import columns, providers, table
from octavo.models.decoder import Limits
from octavo.roads import Bound, Road, Site, road, weight_bytes
from octavo.runner import Runner
from octavo.scheduler import Limits as SchedulerLimits
from octavo.scheduler import Scheduler
from octavo.tokenizer import Tokenizer
from octavo.weights.demo import demo_model
from octavo.weights.find import Checkpoint, find
from octavo_platforms import bind, discover
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import DeviceInfo, DeviceSettings
from octavo_platforms.errors import PlatformError
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DTYPES, DType

if TYPE_CHECKING:
    from octavo.chat.template import ChatTemplate

Report = Callable[[str], None]

_SHOWN = Load(num_tokens=1, num_requests=1, context_tokens=1024)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run where: a model, bound to a platform, with its memory counted.

    `road` says in words how it comes to run.
    """

    checkpoint: Checkpoint
    platform: Platform
    devices: tuple[DeviceInfo, ...]
    resolved: Resolved
    program: ProgramDef
    binding: Binding
    road: str
    weight_bytes: int

    def __str__(self) -> str:
        """Write the short form, as a server shows it when it starts."""
        return columns(self._lines())

    def full(self) -> str:
        """Write the short form and every op: its provider, reason and cost."""
        layouts = ", ".join(
            f"{group} in {layout.name}" for group, layout in self.binding.layouts.items()
        )
        lines = [*self._lines(), ("state layout", layouts), ("program", self.program.hash[:16])]
        return columns(lines) + "\n\n" + table(self.program, self.binding, _SHOWN)

    def _lines(self) -> list[tuple[str, str]]:
        resolved, info = self.resolved, self.platform.info
        why = resolved.why
        names = ", ".join(device.name for device in self.devices)
        dtype = f"{resolved.dtype} ({why['dtype']})"
        cache = (
            f"{show_bytes(resolved.kv_cache_bytes)} for {resolved.num_blocks} blocks of "
            f"{resolved.block_size} tokens ({why['num_blocks']})"
        )
        context = f"{resolved.max_context_tokens} tokens ({why['max_context_tokens']})"
        return [
            ("model", f"{self.checkpoint.name} ({self.program.name}, {self.checkpoint.format})"),
            ("runs", self.road),
            ("device", f"{info.name}: {names} (path: {info.standing})"),
            ("dtype", dtype),
            ("weights", f"{show_bytes(self.weight_bytes)} in {resolved.dtype}"),
            ("cache", cache),
            ("context", context),
            (
                "at once",
                f"{resolved.max_requests} requests ({why['max_requests']}), "
                f"{resolved.max_step_tokens} tokens a step ({why['max_step_tokens']})",
            ),
            ("ops", providers(self.binding)),
        ]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to answer."""

    engine: Engine
    tokenizer: Tokenizer
    chat: ChatTemplate | None
    model_name: str
    max_context_tokens: int
    eos_ids: frozenset[int]
    plan: Plan
    default_sampling: SamplingParams


def plan(settings: Settings, *, report: Report = lambda line: None) -> Plan:
    """Find out what would run where, without reading a weight.

    Effects: opens the device, to ask for kernels and free memory, and closes it.
    Raises: OperatorError, saying what does not exist, is not built or does not fit.
    """
    prepared = _prepare(settings, report)
    prepared.site.context.close()
    return prepared.plan


def load(settings: Settings, *, report: Report = lambda line: None) -> Loaded:
    """Make a model ready to answer; `report` hears each stage.

    Raises: OperatorError, saying what does not exist, is not built or does not fit.
    """
    prepared = _prepare(settings, report)
    made = prepared.plan
    checkpoint, resolved = made.checkpoint, made.resolved
    report(f"reading {show_bytes(made.weight_bytes)} of weights")
    num_blocks = {state.name: resolved.num_blocks + 1 for state in made.program.states}
    bound = Bound(made.program, made.binding, num_blocks)
    program = prepared.road.compiled(bound, report=report)
    report("warming up")
    try:
        _warm_up(program)
    except PlatformError as error:
        raise DeviceError(str(error)) from error
    tokenizer = checkpoint.tokenizer()
    scheduler = Scheduler(
        SchedulerLimits(
            max_context_tokens=resolved.max_context_tokens,
            num_blocks=resolved.num_blocks + 1,
            block_size=resolved.block_size,
            max_requests=resolved.max_requests,
            max_step_tokens=resolved.max_step_tokens,
            vocab_size=prepared.road.vocab_size,
            prefix_caching=settings.prefix_caching,
        ),
        seed=settings.seed,
    )
    batch = Batch(
        scheduler.seats, scheduler.tables, group="kv", max_step_tokens=resolved.max_step_tokens
    )
    return Loaded(
        engine=Engine(scheduler, Runner(program, batch)),
        tokenizer=tokenizer,
        chat=_chat(tokenizer),
        model_name=settings.served_model_name or checkpoint.name,
        max_context_tokens=resolved.max_context_tokens,
        eos_ids=tokenizer.eos_ids,
        plan=made,
        default_sampling=default_sampling(checkpoint.generation),
    )


def choose(device: str | None) -> tuple[Platform, DeviceSettings]:
    """Load the platform that was named as NAME or NAME:MODE, or the best one that finds a device.

    Raises: DeviceError, with every candidate and why it cannot be used.
    """
    if device is not None:
        name, _, mode = device.partition(":")
        try:
            platform = discover.load(name)
            probe = platform.probe()
        except PlatformError as error:
            raise DeviceError(f"--device {device}: {error}") from error
        if not probe.found:
            raise DeviceError(f"--device {device}: {probe.words}")
        return platform, DeviceSettings(mode=mode or None)
    best: tuple[int, Platform] | None = None
    refusals = []
    for candidate in discover.installed():
        try:
            platform = discover.load(candidate.name)
        except PlatformError as error:
            refusals.append(f"{candidate.name}: {error}")
            continue
        probe = platform.probe()
        if not probe.found or probe.priority < 1:
            refusals.append(f"{candidate.name}: {probe.words}")
        elif best is None or probe.priority > best[0]:
            best = (probe.priority, platform)
    if best is None:
        reasons = "; ".join(refusals) or "no platform is installed"
        raise DeviceError(
            f"No device can be used: {reasons}. Install one: pip install octavo-plugin-<device>"
        )
    return best[1], DeviceSettings()


def _warm_up(program: Program) -> None:
    """Warm a program up, with a bar: some platforms compile for a minute."""
    grown: Bar | None = None
    with ExitStack() as stack:
        counted = 0

        def report(stage: str, done: int, total: int) -> None:
            nonlocal grown, counted
            if grown is None:
                grown = stack.enter_context(bar(total, unit="step", what=stage))
            grown.update(done - counted)
            counted = done

        program.warm_up(report)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A plan and the opened device that it was made on."""

    plan: Plan
    road: Road
    site: Site


def _prepare(settings: Settings, report: Report) -> _Prepared:
    checkpoint = _checkpoint(settings, report)
    open_road = road(checkpoint)
    platform, device_settings = choose(settings.device)
    report(f"opening the device '{platform.info.name}'")
    try:
        context = platform.open_device(settings.devices or (0,), device_settings)
        site = Site(platform, context, platform.make_memory(context))
        taken = open_road(site)
        resolved = _resolve(settings, taken, site)
        program = _program(taken, resolved)
        num_nodes = sum(len(graph.nodes) for graph in program.entries.values())
        report(f"binding {num_nodes} nodes, {taken.words}")
        binding = bind(program, platform, context)
    except PlatformError as error:
        raise DeviceError(str(error)) from error
    made = Plan(
        checkpoint=checkpoint,
        platform=platform,
        devices=context.devices,
        resolved=resolved,
        program=program,
        binding=binding,
        road=taken.words,
        weight_bytes=weight_bytes(taken.facts, _dtype(resolved.dtype)),
    )
    return _Prepared(made, taken, site)


def _checkpoint(settings: Settings, report: Report) -> Checkpoint:
    if settings.model is None:
        return find(str(demo_model(settings.cache_dir, report=report)))
    return find(settings.model, hub_cache=settings.hub_dir)


def _resolve(settings: Settings, taken: Road, site: Site) -> Resolved:
    info = site.platform.info
    facts = PlatformFacts(
        name=info.name,
        dtypes=info.dtypes,
        free_bytes=site.memory.stats().free_bytes,
        shares_host_memory=info.host_memory,
        block_size=info.block_size,
    )
    return resolve(settings, taken.facts, facts)


def _program(taken: Road, resolved: Resolved) -> ProgramDef:
    limits = Limits(
        max_step_tokens=resolved.max_step_tokens,
        max_requests=resolved.max_requests,
        max_blocks=-(-resolved.max_context_tokens // resolved.block_size),
        block_size=resolved.block_size,
    )
    return taken.program(dtype=_dtype(resolved.dtype), limits=limits)


def _dtype(name: str) -> DType:
    for dtype in DTYPES:
        if dtype == name:
            return dtype
    raise ModelError(f"the dtype '{name}' is not known")


def _chat(tokenizer: Tokenizer) -> ChatTemplate | None:
    if tokenizer.chat_template is None:
        return None
    from octavo.chat.template import ChatTemplate

    return ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens)
