"""From settings to a model that answers: find, choose, bind, fit, place, compile, warm up.

    find ─> family ─> spec ─┐
    choose ─> open ─> facts ┴> resolve ─> program ─> passes ─> bind ─> place ─> compile ─> Engine

Everything up to `bind` reads shapes only, so that `octavo plan` shows it, and what does not
fit is known before a weight is read.

Knows no device by name, no framework and no face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.asking import SamplingParams, default_sampling
from octavo.bars import Bar, bar
from octavo.batch import Batch
from octavo.config import ModelFacts, PlatformFacts, Resolved, Settings, resolve, show_bytes
from octavo.engine import Engine
from octavo.errors import DeviceError, ModelError
from octavo.graph.cost import Load
from octavo.graph.passes import optimised
from octavo.graph.show import columns, providers, table
from octavo.models.decoder import Limits
from octavo.models.registry import Family, family
from octavo.models.spec import DecoderSpec
from octavo.runner import Runner
from octavo.scheduler import Limits as SchedulerLimits
from octavo.scheduler import Scheduler
from octavo.tokenizer import Tokenizer
from octavo.weights.demo import demo_model
from octavo.weights.find import Checkpoint, find
from octavo.weights.load import from_checkpoint
from octavo.weights.load import load as load_weights
from octavo_platforms import bind, discover
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import DeviceInfo, DeviceSettings
from octavo_platforms.errors import PlatformError
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext, Memory, Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import DTYPES, DType

if TYPE_CHECKING:
    from octavo.chat.template import ChatTemplate

Report = Callable[[str], None]

_SHOWN = Load(num_tokens=1, num_requests=1, context_tokens=1024)
_SPEC_DTYPE = "torch_dtype"


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run where: a model, bound to a platform, with its memory counted."""

    checkpoint: Checkpoint
    platform: Platform
    devices: tuple[DeviceInfo, ...]
    resolved: Resolved
    program: ProgramDef
    binding: Binding

    @property
    def weight_bytes(self) -> int:
        """Give what the weights take on the device, unpacked."""
        return sum(weight.num_bytes for weight in self.program.weights)

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
            ("device", f"{info.name}: {names} (path: {info.standing})"),
            ("dtype", dtype),
            ("weights", f"{show_bytes(self.weight_bytes)} in {len(self.program.weights)} tensors"),
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
    prepared.context.close()
    return prepared.plan


def load(settings: Settings, *, report: Report = lambda line: None) -> Loaded:
    """Make a model ready to answer; `report` hears each stage.

    Raises: OperatorError, saying what does not exist, is not built or does not fit.
    """
    prepared = _prepare(settings, report)
    made = prepared.plan
    checkpoint, resolved = made.checkpoint, made.resolved
    report(f"reading {show_bytes(made.weight_bytes)} of weights")
    weights = load_weights(made.program, made.binding, checkpoint, prepared.memory)
    report("compiling")
    num_blocks = {state.name: resolved.num_blocks + 1 for state in made.program.states}
    spec = CompileSpec(
        program=made.program, binding=made.binding, weights=weights, num_blocks=num_blocks
    )
    try:
        program = made.platform.compile(spec, prepared.context)
        report("warming up")
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
            vocab_size=prepared.spec.vocab_size,
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
    spec: DecoderSpec
    context: DeviceContext
    memory: Memory


def _prepare(settings: Settings, report: Report) -> _Prepared:
    checkpoint = _checkpoint(settings, report)
    built = family(checkpoint.config)
    spec = built.spec(checkpoint.config)
    platform, device_settings = choose(settings.device)
    report(f"opening the device '{platform.info.name}'")
    try:
        context = platform.open_device(settings.devices or (0,), device_settings)
        memory = platform.make_memory(context)
        resolved = _resolve(settings, checkpoint, built, spec, platform, memory)
        program = _program(built, spec, resolved, platform, checkpoint)
        report(f"binding {sum(len(g.nodes) for g in program.entries.values())} nodes")
        binding = bind(program, platform, context)
    except PlatformError as error:
        raise DeviceError(str(error)) from error
    made = Plan(checkpoint, platform, context.devices, resolved, program, binding)
    return _Prepared(made, spec, context, memory)


def _checkpoint(settings: Settings, report: Report) -> Checkpoint:
    if settings.model is None:
        return find(str(demo_model(settings.cache_dir, report=report)))
    return find(settings.model, hub_cache=settings.hub_dir)


def _resolve(
    settings: Settings,
    checkpoint: Checkpoint,
    built: Family,
    spec: DecoderSpec,
    platform: Platform,
    memory: Memory,
) -> Resolved:
    tiny = Limits(max_step_tokens=1, max_requests=1, max_blocks=1, block_size=1)
    counted = built.program(spec, dtype="float32", limits=tiny)
    model = ModelFacts(
        dtype=_checkpoint_dtype(checkpoint.config),
        max_context_tokens=spec.max_context_tokens,
        kv_numbers=sum(state.bytes_per_block // 4 for state in counted.states),
        num_weights=sum(weight.num_bytes // 4 for weight in counted.weights),
    )
    facts = PlatformFacts(
        name=platform.info.name,
        dtypes=platform.info.dtypes,
        free_bytes=memory.stats().free_bytes,
        shares_host_memory=platform.info.host_memory,
        block_size=platform.info.block_size,
    )
    return resolve(settings, model, facts)


def _program(
    built: Family,
    spec: DecoderSpec,
    resolved: Resolved,
    platform: Platform,
    checkpoint: Checkpoint,
) -> ProgramDef:
    limits = Limits(
        max_step_tokens=resolved.max_step_tokens,
        max_requests=resolved.max_requests,
        max_blocks=-(-resolved.max_context_tokens // resolved.block_size),
        block_size=resolved.block_size,
    )
    written = built.program(spec, dtype=_dtype(resolved.dtype), limits=limits)
    named = from_checkpoint(written, checkpoint)
    return optimised(named, one_step="step" in platform.info.claims)


def _checkpoint_dtype(config: Mapping[str, object]) -> str:
    return str(config.get("dtype") or config.get(_SPEC_DTYPE) or "bfloat16")


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
