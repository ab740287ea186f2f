"""From settings to a model that answers: find, choose, fit, bind, compile, warm up.

    find ─> road ─┐
    choose ─> open ┴> facts ─> resolve ─> program ─> bind ─> compiled ─> warm up ─> Engine

Everything up to `bind` reads shapes only, so that `octavo plan` shows it, and what does not
fit is known before a weight is read.

Knows no device by name, no framework and no face, nor which road a model takes (`roads`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from octavo.amounts import show_bytes
from octavo.asking import SamplingParams, default_sampling
from octavo.bars import Bar, bar
from octavo.config import PlatformFacts, Resolved, Settings, resolve
from octavo.engine import Engine
from octavo.errors import DeviceError, ModelError
from octavo.graph.cost import Load
from octavo.graph.passes.copies import COPY
from octavo.graph.show import columns, providers, table
from octavo.heart import heart
from octavo.kv.rings import blocks_of
from octavo.models.decoder import Limits
from octavo.roads import MOST_COPIES, Bound, Road, Site, road, weight_bytes
from octavo.scheduler import Limits as SchedulerLimits
from octavo.scheduler.asked import limits_of, num_logprobs
from octavo.tokenizer import Tokenizer
from octavo.weights.demo import demo_model
from octavo.weights.find import Checkpoint, find
from octavo.weights.quantised.online import check_format, words
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

    @property
    def num_snapshots(self) -> int:
        """Count the states that can be kept: none where the platform cannot copy them."""
        return self.resolved.num_snapshots if COPY in self.binding.entries else 0

    def __str__(self) -> str:
        """Write the short form, as a server shows it when it starts."""
        return columns(self._lines())

    def full(self) -> str:
        """Write the short form and every op: its provider, reason and cost."""
        layouts = ", ".join(
            f"{group} in {layout.name}" for group, layout in self.binding.layouts.items()
        )
        lines = [*self._lines(), ("state layout", layouts), ("program", self.program.hash[:16])]
        why = [f"without '{name}': {reason}" for name, reason in self.binding.left_out.items()]
        return "\n\n".join([columns(lines), *why, table(self.program, self.binding, _SHOWN)])

    def _lines(self) -> list[tuple[str, str]]:
        resolved, info = self.resolved, self.platform.info
        why = resolved.why
        names = ", ".join(device.name for device in self.devices)
        dtype = f"{resolved.dtype} ({why['dtype']})"
        context = f"{resolved.max_context_tokens} tokens ({why['max_context_tokens']})"
        return [
            ("model", f"{self.checkpoint.name} ({self.program.name}, {self.checkpoint.format})"),
            ("runs", self.road),
            ("device", f"{info.name}: {names} (path: {info.standing})"),
            ("dtype", dtype),
            ("weights", f"{show_bytes(self.weight_bytes)} in {resolved.dtype}"),
            *self._cache(),
            ("context", context),
            ("room", self._room()),
            (
                "at once",
                f"{resolved.max_requests} requests ({why['max_requests']}), "
                f"{resolved.max_step_tokens} tokens a step ({why['max_step_tokens']}), "
                f"{resolved.max_in_flight} steps in flight ({why['max_in_flight']})",
            ),
            ("ops", providers(self.binding)),
            *([("quantised", self.checkpoint.quantised)] if self.checkpoint.quantised else []),
            *self._left_out(),
        ]

    def _cache(self) -> list[tuple[str, str]]:
        """Say what of the cache's memory became what."""
        resolved = self.resolved
        groups = [state for state in self.program.states if state.kind in ("paged", "window")]
        count = [resolved.window_blocks.get(each.name, resolved.num_blocks) for each in groups]
        size, why = show_bytes(resolved.kv_cache_bytes), resolved.why["num_blocks"]
        lines = [f"{size} for {count[0]} blocks of {resolved.block_size} tokens ({why})"]
        for group, own in zip(groups[1:], count[1:], strict=True):
            lines.append(f"{own} blocks for layers that see {group.window} tokens")
        if self.num_snapshots:
            lines.append(f"{self.num_snapshots} states that can be kept behind prefixes")
        return list(zip(["cache", *["and"] * len(lines[1:])], lines, strict=True))

    def _room(self) -> str:
        """Say how many requests fit at once, at what length."""
        resolved = self.resolved
        found = f"{resolved.num_at_once} requests of {resolved.max_context_tokens} tokens at once"
        if resolved.num_at_once == resolved.max_requests:
            return found
        each = resolved.num_blocks // resolved.max_requests * resolved.block_size
        return f"{found}, or {resolved.max_requests} of {each}"

    def _left_out(self) -> list[tuple[str, str]]:
        names = ", ".join(self.binding.left_out)
        words = "the host does what they would, or it is refused"
        return [("left out", f"{names}: {words}")] if names else []


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

    @property
    def source(self) -> str:
        """Give the path under which its tokenizer can be found again."""
        return str(self.plan.checkpoint.path)


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
    num_blocks = _num_blocks(made)
    bound = Bound(made.program, made.binding, num_blocks)
    program = prepared.road.compiled(bound, report=report)
    report("warming up")
    try:
        _warm_up(program)
    except PlatformError as error:
        raise DeviceError(str(error)) from error
    tokenizer = checkpoint.tokenizer()
    parts = heart(
        program,
        prepared.limits,
        seed=settings.seed,
        states=made.program.states,
        num_blocks=num_blocks,
        num_copies=MOST_COPIES,
    )
    parts.runner.warm_up()
    return Loaded(
        engine=parts.engine(max_in_flight=resolved.max_in_flight),
        tokenizer=tokenizer,
        chat=chat_of(tokenizer),
        model_name=settings.served_model_name or checkpoint.name,
        max_context_tokens=resolved.max_context_tokens,
        eos_ids=tokenizer.eos_ids,
        plan=made,
        default_sampling=default_sampling(checkpoint.generation),
    )


def _num_blocks(made: Plan) -> Mapping[str, int]:
    """Give what each state group has room for, the null blocks included."""
    resolved, states = made.resolved, made.program.states
    own = resolved.window_blocks
    return blocks_of(
        states,
        num_blocks={each.name: 1 + own.get(each.name, resolved.num_blocks) for each in states},
        max_requests=resolved.max_requests,
        num_snapshots=made.num_snapshots,
    )


def chat_of(tokenizer: Tokenizer) -> ChatTemplate | None:
    """Give the chat template that came with a tokenizer, None where none did."""
    if not tokenizer.chat_templates:
        return None
    from octavo.chat.template import ChatTemplate

    return ChatTemplate(tokenizer.chat_templates, tokenizer.special_tokens)


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
    limits: SchedulerLimits


def _prepare(settings: Settings, report: Report) -> _Prepared:
    checkpoint = _rounded(_checkpoint(settings, report), settings.quantization)
    open_road = road(checkpoint)
    platform, device_settings = choose(settings.device)
    if settings.batch_invariant:
        device_settings = replace(device_settings, batch_invariant=_offered(platform))
    report(f"opening the device '{platform.info.name}'")
    try:
        context = platform.open_device(settings.devices or (0,), device_settings)
        site = Site(platform, context, platform.make_memory(context))
        taken = open_road(site)
        resolved = _resolve(settings, taken, site)
        limits = limits_of(settings, resolved, vocab_size=taken.vocab_size)
        program = _program(taken, resolved, settings)
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
    return _Prepared(made, taken, site, limits)


def _offered(platform: Platform) -> bool:
    if "batch_invariant" in platform.info.claims:
        return True
    raise DeviceError(
        f"--batch-invariant: '{platform.info.name}' does not promise it. Leave the flag out, or "
        "choose a platform that does with --device."
    )


def _checkpoint(settings: Settings, report: Report) -> Checkpoint:
    if settings.model is None:
        return find(str(demo_model(settings.cache_dir, report=report)))
    return find(
        settings.model,
        hub_cache=settings.hub_dir,
        revision=settings.revision,
        load_format=settings.load_format,
        seed=settings.seed,
        mirror=settings.cache_dir / "remote",
    )


def _rounded(checkpoint: Checkpoint, quantization: str | None) -> Checkpoint:
    check_format(quantization)
    told = words(checkpoint.quantised, quantization)
    return replace(checkpoint, rounding=quantization, quantised=told)


def _resolve(settings: Settings, taken: Road, site: Site) -> Resolved:
    info = site.platform.info
    facts = PlatformFacts(
        name=info.name,
        dtypes=info.dtypes,
        free_bytes=site.memory.stats().free_bytes,
        shares_host_memory=info.host_memory,
        block_size=info.block_size,
        max_in_flight=info.max_in_flight,
    )
    return resolve(settings, taken.facts, facts)


def _program(taken: Road, resolved: Resolved, settings: Settings) -> ProgramDef:
    limits = Limits(
        max_step_tokens=resolved.max_step_tokens,
        max_requests=resolved.max_requests,
        max_blocks=-(-resolved.max_context_tokens // resolved.block_size),
        block_size=resolved.block_size,
        max_logprobs=num_logprobs(settings, taken.vocab_size),
    )
    return taken.program(dtype=_dtype(resolved.dtype), limits=limits)


def _dtype(name: str) -> DType:
    for dtype in DTYPES:
        if dtype == name:
            return dtype
    raise ModelError(f"the dtype '{name}' is not known")
