"""The roads from a checkpoint to a program that can be launched.

    an architecture that is built   family ─> graph ─> passes ─> bind ─> place ─> compile
    one that encodes                the same, of the one entry that its checkpoint is for
    any other                       the platform's own code, around our attention and sampling

A road is found before sizes are decided, because deciding them takes its facts. Whoever loads
a model takes its road and does not ask which one it is.

Knows nothing of settings, schedulers or faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from octavo.config import ITEM_BYTES
from octavo.errors import DeviceError, ModelError, NotBuilt
from octavo.fit import Window
from octavo.graph.passes import optimised, with_copies, with_windows
from octavo.models.decoder import Limits
from octavo.models.encoder import SPARE, EncoderFamily, EncoderSpec, Pooling, pooling_of
from octavo.models.family import Family
from octavo.models.foreign import foreign_program
from octavo.models.registry import find_body, find_encoder, find_family, not_built
from octavo.models.spec import DecoderSpec
from octavo.resolved import ModelFacts
from octavo.weights.code import own_code
from octavo.weights.dummy import DummyWeights
from octavo.weights.find import Checkpoint
from octavo.weights.load import from_checkpoint
from octavo.weights.load import load as load_weights
from octavo.weights.sentences import Sentences, has_sentences, sentences_of, with_projections
from octavo_platforms.binding import Binding
from octavo_platforms.errors import CannotBind, CannotLoad, PlatformError
from octavo_platforms.foreign import ForeignModel, ForeignSpec
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext, Memory, Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import DType

Report = Callable[[str], None]

MOST_COPIES = 16
_SPEC_DTYPE = "torch_dtype"
_ROW: Mapping[Pooling, str] = MappingProxyType(
    {"cls": "its first token", "last": "its last token", "mean": "the mean of its tokens"}
)
_TINY = Limits(max_step_tokens=1, max_requests=1, max_blocks=1, block_size=1)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a model is to run: a platform, its opened devices, and their memory."""

    platform: Platform
    context: DeviceContext
    memory: Memory


@dataclass(frozen=True, slots=True)
class Bound:
    """A program that is bound to a site, and how many blocks its state groups hold."""

    program: ProgramDef
    binding: Binding
    num_blocks: Mapping[str, int]


class Road(Protocol):
    """A model on its way.

    `words` say for people how it runs; `facts` are what sizes are decided by.
    """

    @property
    def words(self) -> str:
        """Give them."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """Give them."""
        ...

    @property
    def vocab_size(self) -> int:
        """Count the tokens that it can read and choose."""
        ...

    def program(self, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write the program, by shapes alone. Raises: ModelError."""
        ...

    def compiled(self, bound: Bound, *, report: Report) -> Program:
        """Read the weights and make the program ready to launch. Raises: OperatorError."""
        ...


def road(checkpoint: Checkpoint) -> Callable[[Site], Road]:
    """Find a checkpoint's road as far as it can be known without a device.

    What a family refuses to build may run by the platform's own code, as what no family knows. A
    model that generates is pooled where its folder says how, or where it has no head.

    Raises: ModelError, for a config that contradicts itself.
    """
    family, encoder = find_family(checkpoint.config), _encoder(checkpoint)
    if encoder is not None:
        return _encoding(checkpoint, encoder)
    if family is None:
        reason = not_built(checkpoint.config) + own_code(checkpoint.config)
        return lambda site: _foreign(checkpoint, site, reason)
    try:
        spec = family.spec(checkpoint.config)
    except NotBuilt as refusal:
        reason = str(refusal)
        return lambda site: _foreign(checkpoint, site, reason)
    if isinstance(checkpoint.source, DummyWeights):
        smallest = family.program(spec, dtype="float32", limits=_TINY)
        checkpoint = replace(checkpoint, source=checkpoint.source.of(smallest))
    return lambda site: GraphRoad(checkpoint, family, spec, site)


@dataclass(frozen=True, slots=True)
class GraphRoad:
    """A model that is written here, as a graph."""

    checkpoint: Checkpoint
    family: Family
    spec: DecoderSpec
    site: Site

    @property
    def words(self) -> str:
        """Name the family."""
        return f"as the graph of the family '{self.family.name}'"

    @property
    def facts(self) -> ModelFacts:
        """Count what the smallest program of the family holds."""
        counted = self.family.program(self.spec, dtype="float32", limits=_TINY)
        states = with_windows(counted).states
        own = [each for each in states if each.kind == "recurrent"]
        return ModelFacts(
            dtype=_checkpoint_dtype(self.checkpoint.config),
            max_context_tokens=self.spec.max_context_tokens,
            kv_numbers=sum(
                each.bytes_per_block // 4 for each in states if each.kind in ("paged", "cross")
            ),
            seat_bytes=sum(each.bytes_per_block * each.ring for each in own),
            snapshot_bytes=sum(each.bytes_per_block for each in own),
            windows=[
                Window(each.name, each.window, each.bytes_per_block // 4)
                for each in states
                if each.window is not None
            ],
            num_weights=sum(weight.num_bytes // 4 for weight in counted.weights),
        )

    @property
    def vocab_size(self) -> int:
        """Give the spec's."""
        return self.spec.vocab_size

    def program(self, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write the family's graph in the checkpoint's names, and optimise it."""
        written = self.family.program(self.spec, dtype=dtype, limits=limits)
        named = from_checkpoint(written, self.checkpoint)
        parted = with_copies(with_windows(named), most=MOST_COPIES)
        return optimised(parted, one_step="step" in self.site.platform.info.claims)

    def compiled(self, bound: Bound, *, report: Report) -> Program:
        """Place every weight and compile."""
        return _compiled(self.checkpoint, self.site, bound, report)


@dataclass(frozen=True, slots=True)
class EncoderRoad:
    """A model that pools or scores; `sentences` are what its folder says of texts."""

    checkpoint: Checkpoint
    family: EncoderFamily
    spec: EncoderSpec
    sentences: Sentences
    site: Site

    @property
    def words(self) -> str:
        """Name the family, and say what becomes of a prompt."""
        head, row = self.spec.head, _ROW[self.spec.pooling]
        made = f"pooled by {row}" if head is None else f"scored for {head.classes} classes"
        return f"as the graph of the family '{self.family.name}'; each prompt is {made}"

    @property
    def facts(self) -> ModelFacts:
        """Count what the smallest program holds."""
        counted = self.family.program(self.spec, dtype="float32", limits=_TINY)
        most, said = self.spec.body.max_context_tokens, self.sentences.max_tokens
        return ModelFacts(
            dtype=_checkpoint_dtype(self.checkpoint.config),
            max_context_tokens=most if said is None else min(most, said),
            kv_numbers=0,
            num_weights=sum(weight.num_bytes // 4 for weight in counted.weights),
            whole_prompts=True,
        )

    @property
    def vocab_size(self) -> int:
        """Give the spec's."""
        return self.spec.body.vocab_size

    def program(self, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write the family's graph in the checkpoint's names, and optimise it."""
        written = self.family.program(self.spec, dtype=dtype, limits=limits)
        return optimised(from_checkpoint(written, self.checkpoint, spare=SPARE), one_step=False)

    def compiled(self, bound: Bound, *, report: Report) -> Program:
        """Place every weight and compile."""
        return _compiled(self.checkpoint, self.site, bound, report)


@dataclass(frozen=True, slots=True)
class ForeignRoad:
    """A model that the platform runs with code of its own. `why` says what no family has of it."""

    checkpoint: Checkpoint
    model: ForeignModel
    why: str

    @property
    def words(self) -> str:
        """Say who runs it, and why no family does."""
        reason = self.why.removeprefix("config.json: ").partition(". Built:")[0]
        return f"without a graph: {self.model.words}, around our attention and sampling ({reason})"

    @property
    def facts(self) -> ModelFacts:
        """Take the platform's word for it."""
        attention = self.model.attention
        width = attention.num_kv_heads * attention.head_width
        return ModelFacts(
            dtype=_checkpoint_dtype(self.checkpoint.config),
            max_context_tokens=self.model.max_context_tokens,
            kv_numbers=2 * attention.layers * width,
            num_weights=self.model.num_weights,
        )

    @property
    def vocab_size(self) -> int:
        """Give the platform's count."""
        return self.model.vocab_size

    def program(self, *, dtype: DType, limits: Limits) -> ProgramDef:
        """Write what is ours of it."""
        return foreign_program(self.model, dtype=dtype, limits=limits)

    def compiled(self, bound: Bound, *, report: Report) -> Program:
        """Have the platform read the weights and prove itself."""
        spec = CompileSpec(
            program=bound.program,
            binding=bound.binding,
            weights={},
            num_blocks=bound.num_blocks,
        )
        try:
            return self.model.load(spec)
        except CannotLoad as error:
            raise ModelError(str(error)) from error
        except PlatformError as error:
            raise DeviceError(str(error)) from error


def weight_bytes(facts: ModelFacts, dtype: DType) -> int:
    """Give what a model's weights take on a device, unpacked."""
    return facts.num_weights * ITEM_BYTES[dtype]


def pools(checkpoint: Checkpoint) -> bool:
    """Tell whether a checkpoint's road is that of a model that pools or scores."""
    return _encoder(checkpoint) is not None


def _encoder(checkpoint: Checkpoint) -> EncoderFamily | None:
    config = checkpoint.config
    if encoder := find_encoder(config):
        return encoder
    body = find_body(config)
    if body is None and has_sentences(checkpoint.path):
        body = find_family(config)
    return None if body is None else pooling_of(body)


def _encoding(checkpoint: Checkpoint, family: EncoderFamily) -> Callable[[Site], Road]:
    spec, sentences = family.spec(checkpoint.config), sentences_of(checkpoint.path)
    if spec.head is None and sentences.pooling is not None:
        spec = replace(spec, pooling=sentences.pooling, projections=sentences.projections)
        source = with_projections(checkpoint.source, checkpoint.path, sentences)
        checkpoint = replace(checkpoint, source=source)
    _check_widths(checkpoint.path, spec)
    if isinstance(checkpoint.source, DummyWeights):
        smallest = family.program(spec, dtype="float32", limits=_TINY)
        checkpoint = replace(checkpoint, source=checkpoint.source.of(smallest))
    return lambda site: EncoderRoad(checkpoint, family, spec, sentences, site)


def _check_widths(folder: Path, spec: EncoderSpec) -> None:
    width = spec.body.width
    for each in spec.projections:
        if each.n_in != width:
            raise ModelError(
                f"{folder / each.place / 'config.json'}: 'in_features' is {each.n_in}, but the "
                f"rows before it are {width} wide. Fetch the folder again."
            )
        width = each.n_out


def _compiled(checkpoint: Checkpoint, site: Site, bound: Bound, report: Report) -> Program:
    weights = load_weights(bound.program, bound.binding, checkpoint, site.memory)
    report("compiling")
    spec = CompileSpec(
        program=bound.program,
        binding=bound.binding,
        weights=weights,
        num_blocks=bound.num_blocks,
    )
    try:
        return site.platform.compile(spec, site.context)
    except PlatformError as error:
        raise DeviceError(str(error)) from error


def _foreign(checkpoint: Checkpoint, site: Site, why: str) -> ForeignRoad:
    if checkpoint.format != "safetensors":
        raise ModelError(why)
    if checkpoint.rounding is not None:
        raise ModelError(
            f"{why.removesuffix('.')}. And --quantization rounds weights of models with a graph "
            "only. Leave it out, or choose another model."
        )
    spec = ForeignSpec(path=checkpoint.path, config=checkpoint.config)
    try:
        model = site.platform.bind_model(spec, site.context)
    except CannotBind as error:
        raise ModelError(
            f"{why.removesuffix('.')}. And {error}. Choose another model or --device."
        ) from error
    return ForeignRoad(checkpoint, model, why)


def _checkpoint_dtype(config: Mapping[str, object]) -> str:
    return str(config.get("dtype") or config.get(_SPEC_DTYPE) or "bfloat16")
