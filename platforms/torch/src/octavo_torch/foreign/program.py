"""The program of a foreign model: `forward` is a module's, what surrounds it is the base's.

    StepInputs ─> token ids, positions ─> module ─> logits of the chosen rows
                  attend, once a layer ──┘ │
                  └── keys and values in the blocks

Knows nothing of how a class was found, nor of what is between two attentions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from octavo_platforms.binding import Binding
from octavo_platforms.errors import CannotLoad
from octavo_platforms.inputs import NULL_BLOCK, Pending, StepInputs, arrays_of
from octavo_platforms.platform import Program, Report
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import ShapePolicy, padded
from octavo_platforms.specs import CompileSpec
from octavo_torch.context import TorchContext
from octavo_torch.dtypes import TORCH_OF
from octavo_torch.foreign.attention import KEYWORD, LAUNCHED, PagedAttention, StepAttention
from octavo_torch.foreign.find import Architecture
from octavo_torch.foreign.proof import prove
from octavo_torch.foreign.rehearsal import Rehearsed
from octavo_torch.foreign.steps import Part, step
from octavo_torch.parcel import Cargo, sent
from octavo_torch.program import TorchProgram
from octavo_torch.results import TorchRef, launched
from octavo_torch.states import allocated

Shapes = Callable[[ProgramDef], ShapePolicy]

ATTEND, FORWARD, SAMPLE, LOGITS = "attend", "forward", "sample", "logits"
TOKENS, TOKEN_IDS = "tokens", "token_ids"
OWN_ATTENTION = "eager"
PIECE_TOKENS = 256
_MISFITS: Mapping[str, str] = MappingProxyType(
    {
        "missing_keys": "lacks",
        "unexpected_keys": "holds, unused,",
        "mismatched_keys": "holds in another shape",
    }
)


class Module(Protocol):
    """A module of transformers, as far as it is used here."""

    def __call__(self, **arguments: object) -> Output:
        """Run it."""
        ...

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Choose attention by its name in the register."""
        ...

    def train(self, mode: bool) -> object:
        """Choose between training and use."""
        ...

    def to(self, device: torch.device) -> Module:
        """Move the weights."""
        ...


class Output(Protocol):
    """What a module gives."""

    @property
    def logits(self) -> Tensor:
        """Give the logits. Shapes: [1, S, V]."""
        ...


def loading(
    architecture: Architecture, known: Rehearsed, context: TorchContext, shapes: Shapes
) -> Callable[[CompileSpec], Program]:
    """Give what reads a model's weights and makes it ready to launch."""

    def load(spec: CompileSpec) -> Program:
        module = _module(architecture, _dtype(spec), context.device)
        program = ForeignProgram(
            module, spec, context, policy=shapes(spec.program), vocab_size=known.vocab_size
        )
        try:
            program.prove(architecture.name)
        except CannotLoad:
            program.close()
            raise
        return program

    return load


class ForeignProgram:
    """A module on one torch device, and the choice of tokens."""

    def __init__(
        self,
        module: Module,
        spec: CompileSpec,
        context: TorchContext,
        *,
        policy: ShapePolicy,
        vocab_size: int,
    ) -> None:
        (self._state,) = spec.program.states
        self._num_blocks = spec.num_blocks[self._state.name]
        self._sizes = {symbol.name: symbol.maximum for symbol in spec.program.symbols}
        self._vocab_size = vocab_size
        self._context = context
        self._forward: _Forward | None = _Forward(module, spec, context, vocab_size)
        self._around = TorchProgram(_around(spec), context, policy)

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries."""
        if self._forward is None:
            return frozenset()
        return self._around.entries - {TOKENS} | {FORWARD}

    @property
    def shape_policy(self) -> ShapePolicy:
        """Ask for what the base asks for."""
        return self._around.shape_policy

    def launch(self, inputs: StepInputs) -> Pending:
        """Run one entry. Its arrays are copied, so that their owner may reuse them."""
        if inputs.entry != FORWARD:
            return self._around.launch(inputs)
        with torch.inference_mode():
            logits = self._logits(inputs)
        cut = {LOGITS: (slice(inputs.shape.num_rows),)}
        return launched({LOGITS: logits}, self._context, cut)

    def warm_up(self, report: Report) -> None:
        """Run steps such as the first requests will bring, on the null block and seat."""
        slots = self._sizes["M"] * self._state.block_size
        piece = min(self._sizes["T"], slots, PIECE_TOKENS)
        most = min(self._sizes["T"], self._sizes["R"])
        shapes = list(dict.fromkeys(((1,), (1,) * most, (piece,))))
        for number, queries in enumerate(shapes):
            report("warming up", number, len(shapes))
            self._rehearse(queries)
        report("warming up", len(shapes), len(shapes))

    def close(self) -> None:
        """Let go of the module and its states."""
        self._forward = None
        self._around.close()

    def prove(self, name: str) -> None:
        """Hold the module in chunks against itself as a whole. Raises: CannotLoad."""
        forward = self._forward
        assert forward is not None, "a closed program proves nothing"
        with torch.inference_mode():
            prove(
                self._logits,
                forward.whole,
                name=name,
                state=self._state,
                num_blocks=self._num_blocks,
                vocab_size=self._vocab_size,
            )

    def _logits(self, inputs: StepInputs) -> Tensor:
        """Read the step's tokens, given or kept. Shapes: returns [S, V]."""
        assert self._forward is not None, "a closed program launches nothing"
        ids = self._around.launch(replace(inputs, entry=TOKENS)).ref(TOKEN_IDS)
        assert isinstance(ids, TorchRef)
        return self._forward.run(inputs, ids.tensor)

    def _rehearse(self, queries: Sequence[int]) -> None:
        width = -(-max(queries) // self._state.block_size)
        parts = [Part([0] * count, 0, [NULL_BLOCK] * width) for count in queries]
        inputs = padded(step(parts, group=self._state.name), self.shape_policy)
        pending = self.launch(inputs)
        chosen = replace(inputs, entry=SAMPLE, extra={LOGITS: pending.ref(LOGITS)})
        self.launch(chosen).read()


class _Forward:
    """The entry `forward`: the module, with attention into this program's blocks."""

    def __init__(
        self, module: Module, spec: CompileSpec, context: TorchContext, vocab_size: int
    ) -> None:
        (state,) = spec.program.states
        bound = spec.binding.entries[ATTEND]
        self._module = module
        self._device = context.device
        self._dtype = _dtype(spec)
        self._vocab_size = vocab_size
        self._attention = PagedAttention(bound, allocated(state, spec, context.memory))

    def run(self, inputs: StepInputs, token_ids: Tensor) -> Tensor:
        """Give the logits of the chosen rows. Shapes: token_ids [T]; returns [S, V]."""
        if not len(inputs.token_ids):
            return torch.empty((0, self._vocab_size), dtype=self._dtype, device=self._device)
        given = self._given(inputs)
        attention = StepAttention(self._attention, inputs, given, self._device)
        made = self._module(
            input_ids=token_ids.long()[None],
            position_ids=attention.positions.long()[None],
            use_cache=False,
            logits_to_keep=given["rows"].long(),
            **{KEYWORD: attention},
        )
        assert attention.num_layers == len(self._attention.layers), "each layer attends once"
        return made.logits[0].to(self._dtype)

    def whole(self, tokens: Sequence[int]) -> Tensor:
        """Give the logits after each token by the module's own attention. Returns [T, V]."""
        ids = torch.tensor([list(tokens)], device=self._device)
        places = torch.arange(len(tokens), device=self._device)[None]
        self._module.set_attn_implementation(OWN_ATTENTION)
        try:
            made = self._module(input_ids=ids, position_ids=places, use_cache=False)
        finally:
            self._module.set_attn_implementation(LAUNCHED)
        return made.logits[0]

    def _given(self, inputs: StepInputs) -> dict[str, Tensor]:
        arrays = arrays_of(inputs)
        names = sorted({*self._attention.inputs, "rows"})
        cargo: list[Cargo] = []
        for name in names:
            array = arrays[name]
            assert isinstance(array, np.ndarray)
            cargo.append((array, "int32"))
        return dict(zip(names, sent(cargo, self._device), strict=True))


def _module(architecture: Architecture, dtype: torch.dtype, device: torch.device) -> Module:
    """Read a module's weights.

    Effects: on the host, weights that need no conversion stay mapped from the checkpoint's
        files, which must not be written to while the module lives.
    Raises: CannotLoad, for tensors that are missing, spare or misshapen.
    """
    try:
        read: object = architecture.module.from_pretrained(
            architecture.path,
            config=copy.deepcopy(architecture.config),
            dtype=dtype,
            attn_implementation=LAUNCHED,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # told below, with the others
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise CannotLoad(f"{architecture.path} cannot be read by transformers: {error}") from error
    module, told = cast(tuple[Module, Mapping[str, Collection[object]]], read)
    for key, words in _MISFITS.items():
        names = sorted(_name(each) for each in told.get(key) or ())
        if names:
            shown = ", ".join(names[:3])
            raise CannotLoad(
                f"{architecture.path} {words} {len(names)} tensors by the config of "
                f"{architecture.name}: {shown}{', ...' if len(names) > 3 else ''}. The files are "
                "incomplete, or belong to another model than their config."
            )
    module.train(False)
    return module.to(device)


def _name(misfit: object) -> str:
    """Give a tensor's name, beside which both shapes may stand."""
    return str(misfit[0] if isinstance(misfit, tuple) else misfit)


def _around(spec: CompileSpec) -> CompileSpec:
    """Keep what is before and after the module: tokens, and what chooses them."""
    bound_entries = {name: entry for name, entry in spec.binding.entries.items() if name != ATTEND}
    entries = {name: spec.program.entries[name] for name in bound_entries}
    program = replace(spec.program, entries=entries, states=())
    bound = Binding(bound_entries, {})
    return replace(spec, program=program, binding=bound, num_blocks={})


def _dtype(spec: CompileSpec) -> torch.dtype:
    """Give the dtype to compute in: that of the queries."""
    graph = spec.program.entries[ATTEND]
    (query,) = (leaf.value for leaf in graph.leaves if leaf.name == "q")
    return TORCH_OF[graph.tensor_type(query).dtype]
