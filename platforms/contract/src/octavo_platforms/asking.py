"""Asking: how a node becomes a question to a platform, and what was answered.

Equal questions are asked once and share a kernel, so that thirty layers pack, prepare and
tune once. Knows nothing of decompositions or of layouts agreed between kernels (`bind`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from octavo_platforms.graph import Node, StateType, TensorType, ValueType, attrs_of
from octavo_platforms.loaded import Platform
from octavo_platforms.ops import Hook
from octavo_platforms.ops.latent import value_width
from octavo_platforms.ops.op import fixed, integer, real, state, tensor
from octavo_platforms.ops.ranks import group_of, ranks_of
from octavo_platforms.ops.state import has_slopes, lengths_of, softcap_of, window_of
from octavo_platforms.platform import (
    DeviceContext,
    Instruction,
    Kernel,
    StateKernel,
    StateLayout,
    Unsupported,
)
from octavo_platforms.program import ProgramDef
from octavo_platforms.ranks import Communicator
from octavo_platforms.specs import (
    AttentionSpec,
    CopySpec,
    CrossAttentionSpec,
    KVReadSpec,
    KVWriteSpec,
    LatentAttentionSpec,
    LatentRowsSpec,
    LinearSpec,
    MixerSpec,
    OpSpec,
    Spec,
)

Offer = Kernel | StateKernel | Instruction
Communicators = Mapping[str, Communicator]

ALONE: Communicators = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Question:
    """A hook and the spec that it is asked."""

    hook: Hook
    spec: Spec


@dataclass(frozen=True, slots=True)
class Offers:
    """What implementations answered: kernels with their providers in order, and refusals."""

    kernels: tuple[tuple[str, Offer], ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was chosen for a question and its provider; None where nothing fits. And why."""

    kernel: Kernel | Instruction | None
    provider: str
    refusals: tuple[str, ...]


class Asker:
    """Asks a platform's implementations from the front, and remembers the answers."""

    def __init__(
        self, platform: Platform, context: DeviceContext, communicators: Communicators = ALONE
    ) -> None:
        self.platform = platform
        self._context = context
        self._communicators = communicators
        self._offers_of: dict[Question, Offers] = {}
        self._kernel_of: dict[tuple[Question, StateLayout], Kernel] = {}

    def offers(self, question: Question) -> Offers:
        """Give every kernel and refusal for a question, the first asked in front."""
        known = self._offers_of.get(question)
        if known is None:
            known = self._ask(question)
            self._offers_of[question] = known
        return known

    def settle(self, question: Question, layout: StateLayout | None) -> Settled:
        """Choose the first offer that works in the layout agreed on, if any does."""
        offers = self.offers(question)
        passed_over: list[str] = []
        for provider, offer in offers.kernels:
            if fits(offer, layout):
                kernel = self._at(question, offer, layout)
                return Settled(kernel, provider, (*passed_over, *offers.refusals))
            passed_over.append(f"{provider}: {offer.name} {_misfit(offer, layout)}")
        return Settled(None, "", (*passed_over, *offers.refusals))

    def _at(
        self, question: Question, offer: Offer, layout: StateLayout | None
    ) -> Kernel | Instruction:
        if not isinstance(offer, StateKernel):
            return offer
        assert layout is not None, "it fits, so there is one"
        key = (question, layout)
        if key not in self._kernel_of:
            self._kernel_of[key] = offer.at(layout)
        return self._kernel_of[key]

    def _ask(self, question: Question) -> Offers:
        kernels: list[tuple[str, Offer]] = []
        refusals: list[str] = []
        given: dict[str, object] = {"spec": question.spec, "context": self._context}
        if question.hook == "bind_collective":
            communicator = self._communicator(question.spec)
            if isinstance(communicator, Unsupported):
                return Offers((), (communicator.reason,))
            given["communicator"] = communicator
        for implementation in self.platform.implementations(question.hook):
            answer = implementation.call(**given)
            if isinstance(answer, Unsupported):
                refusals.append(f"{implementation.provider}: {answer.reason}")
            elif isinstance(answer, Offer):
                kernels.append((implementation.provider, answer))
            elif answer is not None:
                kind = type(answer).__name__
                refusals.append(f"{implementation.provider}: answered with a {kind}")
        return Offers(tuple(kernels), tuple(refusals))

    def _communicator(self, spec: Spec) -> Communicator | Unsupported:
        """Find the group that an op talks to, of the size that it was written for."""
        assert isinstance(spec, OpSpec)
        attrs = dict(spec.attrs)
        name, ranks = group_of(attrs), ranks_of(attrs)
        found = self._communicators.get(name)
        if found is None:
            return Unsupported(f"it talks to {ranks} ranks, and no group '{name}' was made")
        if found.spec.size != ranks:
            return Unsupported(f"it talks to {ranks} ranks, and '{name}' has {found.spec.size}")
        return found


def fits(offer: Offer, layout: StateLayout | None) -> bool:
    """Tell whether an offer works in a layout; None is that of an op that touches no state."""
    if isinstance(offer, Kernel):
        return True
    if layout is None:
        return isinstance(offer, Instruction)
    return layout in offer.layouts


def _misfit(offer: Offer, layout: StateLayout | None) -> str:
    if layout is None:
        return "is for states, and this op touches none"
    assert not isinstance(offer, Kernel)
    known = " or ".join(f"'{each.name}'" for each in offer.layouts)
    return f"wants the state {known or 'in no layout'}, and it is '{layout.name}'"


def shared_weights(program: ProgramDef) -> frozenset[str]:
    """Name the weights that anything but linear layers of one kind reads.

    Such a weight stays as it was placed, so that a tied embedding is one copy.
    """
    uses: dict[str, set[tuple[object, ...]]] = {}
    for graph in program.entries.values():
        name_of = {leaf.value: leaf.name for leaf in graph.leaves_of("weight")}
        for node in graph.nodes:
            for position, value in enumerate(node.inputs):
                if value not in name_of:
                    continue
                use: tuple[object, ...] = (node.op, position)
                if use == ("linear", 1):
                    use = ("linear", len(node.inputs), graph.tensor_type(node.inputs[0]).dtype)
                uses.setdefault(name_of[value], set()).add(use)
    packable = {n for n, found in uses.items() if len(found) == 1 and len(next(iter(found))) == 3}
    return frozenset(uses.keys() - packable)


def nobody(platform: str, node: Node, types: Sequence[ValueType], refusals: Sequence[str]) -> str:
    """Say that an op has no provider, with the refusals and what would help."""
    inputs = ", ".join(str(types[value]) for value in node.inputs)
    reasons = "; ".join(refusals) or "no implementation knows it"
    return (
        f"the platform '{platform}' cannot run {node.op}({inputs}) at '{node.scope}': {reasons}. "
        "Choose another --device or --dtype; `octavo plan` shows what runs where."
    )


def question_of(
    node: Node, hook: Hook, types: Sequence[ValueType], program: ProgramDef, *, shared: bool
) -> Question:
    """Make the question that a node asks. `shared` is about its weight, if it is linear."""
    inputs = [types[value] for value in node.inputs]
    if hook == "bind_linear":
        return Question(hook, _linear(inputs, shared=shared))
    if hook == "bind_attention":
        return Question(hook, _attention(node, inputs, program))
    if hook == "bind_kv_write":
        return Question(hook, _kv_write(node, inputs, program))
    if hook == "bind_kv_read":
        return Question(hook, _kv_read(node, inputs, types, program))
    if hook == "bind_kv_copy":
        return Question(hook, CopySpec(state=program.state(state(inputs, 2).group)))
    if hook == "bind_state_mixer":
        return Question(hook, _mixer(node, inputs, program))
    if hook == "bind_latent_attention":
        return Question(hook, _latent_attention(node, inputs, program))
    if hook == "bind_cross_attention":
        return Question(hook, _cross_attention(node, inputs, program))
    if hook == "bind_latent_rows":
        return Question(hook, _latent_rows(node, inputs, types, program))
    outputs = tuple(types[value] for value in node.outputs)
    return Question(
        hook, OpSpec(op=node.op, attrs=node.attrs, inputs=tuple(inputs), outputs=outputs)
    )


def _linear(inputs: Sequence[ValueType], *, shared: bool) -> LinearSpec:
    x, weight = tensor(inputs, 0), tensor(inputs, 1)
    return LinearSpec(
        n_in=fixed(weight.shape[1]),
        n_out=fixed(weight.shape[0]),
        dtype=x.dtype,
        weight_dtype=weight.dtype,
        bias=len(inputs) == 3,
        shared=shared,
    )


def _attention(node: Node, inputs: Sequence[ValueType], program: ProgramDef) -> AttentionSpec:
    q = tensor(inputs, 0)
    attrs = attrs_of(node)
    return AttentionSpec(
        num_heads=fixed(q.shape[1]),
        num_kv_heads=integer(attrs, "num_kv_heads"),
        head_width=fixed(q.shape[2]),
        scale=real(attrs, "scale"),
        dtype=q.dtype,
        state=program.state(state(inputs, 4).group),
        window=window_of(attrs),
        lengths=lengths_of(attrs),
        softcap=softcap_of(attrs),
        sinks=len(inputs) - has_slopes(attrs) == 6,
        slopes=has_slopes(attrs),
    )


def _cross_attention(
    node: Node, inputs: Sequence[ValueType], program: ProgramDef
) -> CrossAttentionSpec:
    q, attrs = tensor(inputs, 0), attrs_of(node)
    return CrossAttentionSpec(
        num_heads=fixed(q.shape[1]),
        num_kv_heads=integer(attrs, "num_kv_heads"),
        head_width=fixed(q.shape[2]),
        scale=real(attrs, "scale"),
        dtype=q.dtype,
        state=program.state(state(inputs, 4).group),
    )


def _kv_write(node: Node, inputs: Sequence[ValueType], program: ProgramDef) -> KVWriteSpec:
    plain = node.op == "kv_write"
    keys = tensor(inputs, 0 if plain else 1)
    interleaved = None if plain else bool(attrs_of(node)["interleaved"])
    return KVWriteSpec(
        op=node.op,
        num_kv_heads=fixed(keys.shape[1]),
        head_width=fixed(keys.shape[2]),
        dtype=keys.dtype,
        state=program.state(state(inputs, 3 if plain else 5).group),
        interleaved=interleaved,
    )


def _kv_read(
    node: Node, inputs: Sequence[ValueType], types: Sequence[ValueType], program: ProgramDef
) -> KVReadSpec:
    keys = types[node.outputs[0]]
    assert isinstance(keys, TensorType)
    found = inputs[1]
    assert isinstance(found, StateType)
    return KVReadSpec(
        num_kv_heads=fixed(keys.shape[1]),
        head_width=fixed(keys.shape[2]),
        dtype=keys.dtype,
        state=program.state(found.group),
    )


def _latent_attention(
    node: Node, inputs: Sequence[ValueType], program: ProgramDef
) -> LatentAttentionSpec:
    q, rope, weight = (tensor(inputs, index) for index in range(3))
    attrs = attrs_of(node)
    return LatentAttentionSpec(
        num_heads=fixed(q.shape[1]),
        plain_width=fixed(q.shape[2]),
        rope_width=fixed(rope.shape[2]),
        value_width=value_width(q, weight),
        latent_width=fixed(weight.shape[1]),
        scale=real(attrs, "scale"),
        dtype=q.dtype,
        state=program.state(state(inputs, 6).group),
        lengths=lengths_of(attrs),
    )


def _latent_rows(
    node: Node, inputs: Sequence[ValueType], types: Sequence[ValueType], program: ProgramDef
) -> LatentRowsSpec:
    if node.op == "latent_write":
        latent, key = tensor(inputs, 0), tensor(inputs, 1)
        width, dtype = fixed(latent.shape[1]) + fixed(key.shape[1]), latent.dtype
    else:
        rows = types[node.outputs[0]]
        assert isinstance(rows, TensorType)
        width, dtype = fixed(rows.shape[1]), rows.dtype
    (found,) = (each for each in inputs if isinstance(each, StateType))
    return LatentRowsSpec(op=node.op, width=width, dtype=dtype, state=program.state(found.group))


def _mixer(node: Node, inputs: Sequence[ValueType], program: ProgramDef) -> MixerSpec:
    (group,) = (each.group for each in inputs if isinstance(each, StateType))
    return MixerSpec(
        op=node.op,
        attrs=node.attrs,
        inputs=tuple(each for each in inputs if isinstance(each, TensorType)),
        plane=str(attrs_of(node)["plane"]),
        state=program.state(group),
    )
