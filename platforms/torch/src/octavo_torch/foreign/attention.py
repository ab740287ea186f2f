"""Attention for modules of transformers: the function they call, and what it does.

transformers finds attention by a name in a register that is open to everyone. Two names are
ours: one for launches, one for the rehearsal, under which masks are looked at too. What a call
means for this step travels through the module as a keyword argument, so that nothing is kept
between calls and two models in one process never meet.

    launch ─> module(..., octavo_attend=step) ─> layer ─> attend(q, k, v, octavo_attend=step)

Knows nothing of modules' classes, configs or weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function

from octavo_platforms.binding import BoundEntry
from octavo_platforms.graph import Node, Value
from octavo_platforms.inputs import StepInputs
from octavo_platforms.platform import Kernel
from octavo_torch.foreign.refused import Refused
from octavo_torch.memory import tensor_of
from octavo_torch.parcel import delivered

LAUNCHED, REHEARSED = "octavo", "octavo_rehearsed"
KEYWORD = "octavo_attend"
OF_A_LAYER = frozenset({"q", "k", "v"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of attention. Shapes: q [T, H, D]; k and v [T, K, D]."""

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    mask: object
    others: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NotCausal:
    """A mask that ours is not; harmless until a layer attends by it."""

    words: str


class Attend(Protocol):
    """What stands behind the function for one step."""

    def __call__(self, asked: Asked) -> Tensor:
        """Attend. Shapes: returns [T, H, D]."""
        ...


def register() -> None:
    """Enter our names into the register of transformers. Doing so twice changes nothing."""
    AttentionInterface.register(LAUNCHED, attend)
    AttentionInterface.register(REHEARSED, attend)
    AttentionMaskInterface.register(REHEARSED, mask)


def attend(
    module: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: object = None,
    *,
    scaling: float | None = None,
    octavo_attend: Attend | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """Attend as transformers asks for it.

    Shapes: query [1, H, T, D]; key and value [1, K, T, D]; returns [1, T, H, D].
    """
    if octavo_attend is None:
        raise Refused("its layers do not hand a launch's own arguments on to attention")
    q, k, v = (each[0].transpose(0, 1) for each in (query, key, value))
    scale = q.shape[-1] ** -0.5 if scaling is None else float(scaling)
    made = octavo_attend(Asked(q, k, v, scale, attention_mask, others))
    return made[None], None


def mask(
    *, mask_function: object, local_size: int | None = None, **others: object
) -> NotCausal | None:
    """Look at a mask that a module wants; nothing is needed for a causal one."""
    if local_size is not None:
        return NotCausal(f"it attends within windows or chunks of {local_size} tokens")
    if mask_function is not causal_mask_function:
        name = getattr(mask_function, "__qualname__", str(mask_function)).partition(".")[0]
        return NotCausal(f"it attends by a mask that is not causal alone ({name})")
    return None


class PagedAttention:
    """The entry `attend`, parted into what a step does once and what each layer does.

    `layers` are the planes of each; `inputs` are the names of what a step gives.
    """

    def __init__(self, bound: BoundEntry, layers: Sequence[tuple[object, ...]]) -> None:
        graph = bound.graph
        self.layers = layers
        self.of_step: list[tuple[Node, Kernel]] = []
        self.of_layer: list[tuple[Node, Kernel]] = []
        self.outputs: Mapping[str, Value] = dict(graph.outputs)
        self.leaf_of: Mapping[str, Value] = {leaf.name: leaf.value for leaf in graph.leaves}
        (state,) = graph.leaves_of("state")
        self.state = state.value
        own = {self.leaf_of[name] for name in OF_A_LAYER} | {self.state}
        self.inputs = frozenset(leaf.name for leaf in graph.leaves_of("input")) - OF_A_LAYER
        for node, choice in zip(graph.nodes, bound.choices, strict=True):
            is_own = not own.isdisjoint(node.inputs)
            (self.of_layer if is_own else self.of_step).append((node, choice.to_call()))
            if is_own:
                own.update(node.outputs)


class StepAttention:
    """One step of it: called once by each layer, in their order."""

    def __init__(
        self,
        paged: PagedAttention,
        inputs: StepInputs,
        given: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        self._paged = paged
        self._inputs = inputs
        self._device = device
        self._prepared: dict[int, object] = {}
        self._layer = 0
        self._values: dict[Value, object] = {
            paged.leaf_of[name]: given[name] for name in paged.inputs
        }
        for node, kernel in paged.of_step:
            self._run(node, kernel, self._values)

    @property
    def positions(self) -> Tensor:
        """Tell where each token stands. Shapes: int32 [T]."""
        return tensor_of(self._values[self._paged.outputs["positions"]])

    @property
    def num_layers(self) -> int:
        """Count the layers that have attended."""
        return self._layer

    def __call__(self, asked: Asked) -> Tensor:
        """Write a layer's keys and values, and attend."""
        paged = self._paged
        values = dict(self._values)
        for name, tensor in (("q", asked.q), ("k", asked.k), ("v", asked.v)):
            values[paged.leaf_of[name]] = tensor.contiguous()
        values[paged.state] = paged.layers[self._layer]
        self._layer += 1
        for node, kernel in paged.of_layer:
            self._run(node, kernel, values)
        return tensor_of(values[paged.outputs["attended"]])

    def _run(self, node: Node, kernel: Kernel, values: dict[Value, object]) -> None:
        arguments = [values[value] for value in node.inputs]
        if kernel.prepare is None:
            result = kernel.run(*arguments)
        else:
            key = id(kernel.prepare)
            if key not in self._prepared:
                made = {key: kernel.prepare(self._inputs)}
                self._prepared.update(delivered(made, self._device))
            result = kernel.run(*arguments, prepared=self._prepared[key])
        if len(node.outputs) == 1:
            values[node.outputs[0]] = result
        elif node.outputs:
            assert isinstance(result, tuple)
            values.update(zip(node.outputs, result, strict=True))
