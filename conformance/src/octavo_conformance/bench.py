"""The bench: what a case works with. It opens the device once and starts small programs.

It also notes who served each program, so that a case knows nothing of fallbacks, and it
plays the hostile caller: the arrays of every launch are overwritten as soon as `launch`
returns, as the contract allows.

Knows nothing of verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from octavo_conformance.crew import Crew
from octavo_conformance.steps import Step
from octavo_conformance.subject import Subject
from octavo_platforms.bind import bind
from octavo_platforms.binding import Binding
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.inputs import DeviceRef, Pending, StepInputs
from octavo_platforms.loaded import Platform
from octavo_platforms.place import place
from octavo_platforms.platform import DeviceContext, Memory, Program
from octavo_platforms.program import ProgramDef
from octavo_platforms.shapes import padded
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, DType, HostTensor

Given = HostTensor | DeviceRef


class Device:
    """A subject's device, opened when it is first needed and closed at the end.

    `crew` are its ranks, which have processes and devices of their own.
    """

    def __init__(self, subject: Subject) -> None:
        self.crew = Crew(subject)
        self._subject = subject
        self._platform: Platform | None = None
        self._context: DeviceContext | None = None
        self._memory: Memory | None = None

    @property
    def platform(self) -> Platform:
        """Give the platform."""
        if self._platform is None:
            self._platform = self._subject.load()
        return self._platform

    @property
    def context(self) -> DeviceContext:
        """Give the opened device."""
        if self._context is None:
            self._context = self.platform.open_device((0,), DeviceSettings(self._subject.mode))
        return self._context

    @property
    def memory(self) -> Memory:
        """Give the opened device's memory."""
        if self._memory is None:
            self._memory = self.platform.make_memory(self.context)
        return self._memory

    def close(self) -> None:
        """Close what was opened."""
        if self._context is not None:
            self._context.close()
        self._context = self._memory = None


@dataclass(slots=True)
class Bench:
    """One case's view of a device. `examples` is how many drawn batches a law is tried on."""

    subject: Subject
    device: Device
    examples: int = 20
    foreign: set[str] = field(default_factory=set)
    started: list[Running] = field(default_factory=list)

    @property
    def platform(self) -> Platform:
        """Give the platform."""
        return self.device.platform

    @property
    def context(self) -> DeviceContext:
        """Give the opened device."""
        return self.device.context

    @property
    def memory(self) -> Memory:
        """Give the opened device's memory."""
        return self.device.memory

    def start(
        self,
        program: ProgramDef,
        weights: Mapping[str, HostTensor] | None = None,
        *,
        num_blocks: int = 1,
    ) -> Running:
        """Bind, place and compile a program. Raises: CannotBind."""
        binding = bind(program, self.platform, self.context)
        self.foreign |= foreign_in(binding, self.subject.own)
        placed = place(program, binding, Tensors(weights or {}), self.memory)
        blocks = {state.name: num_blocks for state in program.states}
        spec = CompileSpec(program=program, binding=binding, weights=placed, num_blocks=blocks)
        running = Running(self.platform.compile(spec, self.context))
        self.started.append(running)
        return running

    def close(self) -> None:
        """Close the programs that this case started."""
        for running in self.started:
            running.program.close()
        self.started.clear()


class Running:
    """A compiled program, launched by name; padded to the sizes that its platform wants."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._num_launches = 0

    def launch(self, entry: str, step: Step, **extra: Given) -> Pending:
        """Launch an entry, then overwrite every array that was handed over."""
        given = {name: _copied(value) for name, value in extra.items()}
        plain = step.inputs(entry, self._num_launches, given)
        inputs = padded(plain, self.program.shape_policy)
        self._num_launches += 1
        pending = self.program.launch(inputs)
        for array in _arrays(inputs):
            array.view(np.uint8)[...] = 0x55
        return pending

    def run(self, entry: str, step: Step, **extra: Given) -> dict[str, HostTensor]:
        """Launch an entry and read its outputs; `tokens` is one of them, int32 [S]."""
        result = self.launch(entry, step, **extra).read()
        tokens = HostTensor(np.asarray(result.tokens, np.int32).reshape(-1), "int32")
        return {**result.outputs, "tokens": tokens}


@dataclass(frozen=True, slots=True)
class Tensors:
    """A checkpoint in memory."""

    tensor_of: Mapping[str, HostTensor]

    def names(self) -> list[str]:
        """Give the names of all tensors."""
        return list(self.tensor_of)

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a tensor's shape."""
        return self.tensor_of[name].shape

    def dtype(self, name: str) -> DType:
        """Give a tensor's dtype."""
        return self.tensor_of[name].dtype

    def read(self, name: str) -> HostTensor:
        """Give a tensor."""
        return self.tensor_of[name]


def foreign_in(binding: Binding, own: str) -> set[str]:
    """Say what of a binding is not the plugin's own code."""
    found = set()
    for entry in binding.entries.values():
        for node, choice in zip(entry.graph.nodes, entry.choices, strict=True):
            if choice.compound is not None:
                found.add(f"{choice.compound} as its primitives")
            if choice.provider != own:
                found.add(f"{node.op} by {choice.provider}")
    return found


def _copied(value: Given) -> Array | DeviceRef:
    return value.array.copy() if isinstance(value, HostTensor) else value


def _arrays(inputs: StepInputs) -> list[Array]:
    found: list[Array] = [
        inputs.token_ids, inputs.query_starts, inputs.seat, inputs.computed, inputs.rows,
    ]  # fmt: skip
    found += [each for each in (inputs.token_from, inputs.row_seat) if each is not None]
    for group in inputs.groups.values():
        found += [each for each in (group.block_table, group.lengths) if each is not None]
    found += [value for value in inputs.extra.values() if isinstance(value, np.ndarray)]
    if inputs.sampling is not None:
        found += [inputs.sampling.seats, inputs.sampling.values]
    return [array for array in found if array.size]
