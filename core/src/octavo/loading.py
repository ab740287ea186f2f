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
from octavo.config import Settings
from octavo.engine import Engine
from octavo.errors import DeviceError, ModelError
from octavo.heart import heart
from octavo.kv.rings import blocks_of
from octavo.models.decoder import Limits
from octavo.models.encoder import TOKEN_TYPES
from octavo.planned import Plan
from octavo.pooler import Form, Pooler, PoolLimits
from octavo.resolved import PlatformFacts, Resolved, resolve
from octavo.roads import MOST_COPIES, Bound, EncoderRoad, Road, Site, pools, road, weight_bytes
from octavo.scheduler import Limits as SchedulerLimits
from octavo.scheduler.asked import limits_of, num_logprobs
from octavo.tokenizer import Tokenizer
from octavo.vectors import PooledModel
from octavo.weights.demo import demo_model
from octavo.weights.find import Checkpoint, find
from octavo.weights.quantised.online import check_format, words
from octavo.weights.sentences import weighing_of
from octavo_platforms import bind, discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.errors import PlatformError
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.tensor import DTYPES, DType

if TYPE_CHECKING:
    from octavo.chat.template import ChatTemplate

Report = Callable[[str], None]


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
    prepared = _prepare(settings, report, generates=True)
    return _generating(settings, prepared, _compiled(prepared, report))


def load_any(settings: Settings, *, report: Report = lambda line: None) -> Loaded | PooledModel:
    """Make a model ready to generate, or to pool or score, whichever it was made for.

    Raises: OperatorError, saying what does not exist, is not built or does not fit.
    """
    prepared = _prepare(settings, report)
    program = _compiled(prepared, report)
    if isinstance(prepared.road, EncoderRoad):
        return _pooled(settings, prepared.plan, prepared.road, program)
    return _generating(settings, prepared, program)


def _compiled(prepared: _Prepared, report: Report) -> Program:
    """Read the weights, compile and warm up."""
    made = prepared.plan
    made.checkpoint.check_tokenizer()
    report(f"reading {show_bytes(made.weight_bytes)} of weights")
    bound = Bound(made.program, made.binding, _num_blocks(made))
    program = prepared.road.compiled(bound, report=report)
    report("warming up")
    try:
        _warm_up(program)
    except PlatformError as error:
        raise DeviceError(str(error)) from error
    return program


def _pooled(settings: Settings, made: Plan, road: EncoderRoad, program: Program) -> PooledModel:
    resolved, spec, config = made.resolved, road.spec, made.checkpoint.config
    limits = PoolLimits(
        max_prompt_tokens=resolved.max_context_tokens,
        max_step_tokens=resolved.max_step_tokens,
        max_requests=resolved.max_requests,
        vocab_size=road.vocab_size,
    )
    segments = TOKEN_TYPES if spec.token_types else None
    form = Form(spec.entry, reads_last=spec.pooling == "last", segments=segments)
    return PooledModel(
        pooler=Pooler(program, limits, form, max_in_flight=resolved.max_in_flight),
        tokenizer=made.checkpoint.tokenizer(),
        model_name=settings.served_model_name or made.checkpoint.name,
        plan=made,
        width=spec.width,
        num_classes=None if spec.head is None else spec.head.classes,
        weighing=weighing_of(config),
        is_normalised=road.sentences.is_normalised,
        is_lower=road.sentences.is_lower,
        prompt=road.sentences.prompt,
        tells_segments=spec.tells_segments,
        has_nested=bool(config.get("matryoshka_dimensions") or config.get("is_matryoshka")),
    )


def _generating(settings: Settings, prepared: _Prepared, program: Program) -> Loaded:
    made = prepared.plan
    checkpoint, resolved = made.checkpoint, made.resolved
    tokenizer = checkpoint.tokenizer()
    parts = heart(
        program,
        prepared.limits,
        seed=settings.seed,
        states=made.program.states,
        num_blocks=_num_blocks(made),
        num_copies=MOST_COPIES,
    )
    parts.runner.warm_up()
    return Loaded(
        engine=parts.engine(max_in_flight=resolved.max_in_flight),
        tokenizer=tokenizer,
        chat=chat_of(tokenizer, settings),
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
        num_blocks={each.name: 1 + own.get(each.name, resolved.num_blocks or 0) for each in states},
        max_requests=resolved.max_requests,
        num_snapshots=made.num_snapshots,
    )


def chat_of(tokenizer: Tokenizer, settings: Settings) -> ChatTemplate | None:
    """Give the chat template that was asked for, or came with a tokenizer, None where none did.

    Raises: ModelError, for one that is neither Jinja nor the name of one of the model's.
    """
    own, asked = tokenizer.chat_templates, settings.chat_template
    if asked is None and not own:
        return None
    from octavo.chat.template import ChatTemplate

    if asked is not None and asked not in own and "{" not in asked:
        names = ", ".join(own) or "no chat template"
        raise ModelError(
            f"The model has {names}, but none that is named '{asked}'. Name one of them, or give a "
            "Jinja file or text."
        )
    content = settings.chat_template_content_format
    return ChatTemplate(
        own if asked is None else own.get(asked, asked),
        tokenizer.special_tokens,
        defaults=settings.chat_template_kwargs,
        content=None if content == "auto" else content,
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
    limits: SchedulerLimits


def _prepare(settings: Settings, report: Report, *, generates: bool = False) -> _Prepared:
    checkpoint = _rounded(_checkpoint(settings, report), settings.quantization)
    open_road = road(checkpoint)
    if generates and pools(checkpoint):
        raise ModelError(
            f"'{checkpoint.name}' pools or scores texts and generates none, and only text "
            "generation is served over HTTP or chatted with today. Use it in Python: "
            "octavo.LLM(...) has embed, classify and score."
        )
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
