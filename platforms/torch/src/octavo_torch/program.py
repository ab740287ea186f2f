"""The program: entries that share weights, buffers and states, launched one after the other.

A launch runs to its end on the calling thread, as far as the device does: on a CPU it is
done when `launch` returns; elsewhere the work is queued, and `read` waits for it.

Knows nothing of how an entry is run (`calls`) nor of what a kernel does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from octavo_platforms.binding import BoundEntry
from octavo_platforms.graph import Graph, StateType, Value
from octavo_platforms.inputs import DeviceRef, Ints, Pending, StepInputs, StepResult, arrays_of
from octavo_platforms.platform import Report
from octavo_platforms.program import BufferDef, ProgramDef, StateSpec
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, DType, HostTensor
from octavo_torch.calls import Calls, flat
from octavo_torch.context import TorchContext
from octavo_torch.memory import from_host, tensor_of, to_host
from octavo_torch.warm_up import rehearsals

TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class TorchRef:
    """An output that stays on the device."""

    name: str
    tensor: torch.Tensor


class TorchPending:
    """A launch whose work was given to the device."""

    def __init__(self, outputs: Mapping[str, object], done: torch.Event | None) -> None:
        self._outputs = outputs
        self._done = done

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch."""
        return TorchRef(output, tensor_of(self._outputs[output]))

    def ready(self) -> bool:
        """Tell whether the device has come to the end of it."""
        return self._done is None or self._done.query()

    def read(self) -> StepResult:
        """Wait for the outputs and copy them to the host."""
        tokens: Ints = np.zeros(0, np.int32)
        others: dict[str, HostTensor] = {}
        for name, value in self._outputs.items():
            found = to_host(tensor_of(value))
            if name == TOKENS:
                tokens = found.array.astype(np.int32, copy=False)
            else:
                others[name] = found
        return StepResult(tokens[:, None], np.ones(len(tokens), np.int32), others)


class TorchProgram:
    """All entries of a program on one torch device."""

    def __init__(self, spec: CompileSpec, context: TorchContext) -> None:
        self._context = context
        self._program: ProgramDef = spec.program
        shared = _Shared(spec, context)
        self._entries = {
            name: _Entry(bound, shared.constants(bound.graph), context.device)
            for name, bound in spec.binding.entries.items()
        }

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries."""
        return frozenset(self._entries)

    @property
    def shape_policy(self) -> ShapePolicy:
        """Ask for no padding: every size runs as it is."""
        return EXACT

    def launch(self, inputs: StepInputs) -> Pending:
        """Run one entry. Its arrays are copied, so that their owner may reuse them."""
        with torch.inference_mode():
            outputs = self._entries[inputs.entry].run(inputs)
        return TorchPending(outputs, self._event())

    def warm_up(self, report: Report) -> None:
        """Run steps such as the first requests will bring, on the null block and seat."""
        steps = rehearsals(self._program)
        for number, inputs in enumerate(steps):
            report("warming up", number, len(steps))
            self.launch(inputs).read()
        report("warming up", len(steps), len(steps))

    def close(self) -> None:
        """Let go of weights, buffers and states."""
        self._entries = {}

    def _event(self) -> torch.Event | None:
        if self._context.device.type == "cpu":
            return None
        event = torch.Event(self._context.device)
        event.record()
        return event


class _Entry:
    """One entry: where its inputs go, and its calls."""

    def __init__(
        self, bound: BoundEntry, constants: Mapping[Value, object], device: torch.device
    ) -> None:
        graph = bound.graph
        self._device = device
        self._inputs: tuple[tuple[Value, str, DType], ...] = tuple(
            (leaf.value, leaf.name, graph.tensor_type(leaf.value).dtype)
            for leaf in graph.leaves_of("input")
        )
        self._calls: Calls = flat(bound, constants)

    def run(self, inputs: StepInputs) -> dict[str, object]:
        arrays = arrays_of(inputs)
        given: dict[int, object] = {
            value: self._tensor(arrays[name], dtype) for value, name, dtype in self._inputs
        }
        return self._calls.run(given, inputs)

    def _tensor(self, found: Array | DeviceRef, dtype: DType) -> torch.Tensor:
        if isinstance(found, np.ndarray):
            return from_host(found, dtype, self._device)
        assert isinstance(found, TorchRef)
        return found.tensor


class _Shared:
    """What entries share: weights as placed, buffers and states as zeros."""

    def __init__(self, spec: CompileSpec, context: TorchContext) -> None:
        self._context = context
        self._weights = spec.weights
        self._buffers = {
            buffer.name: context.memory.alloc(_shape(buffer, spec.program), buffer.dtype)
            for buffer in spec.program.buffers
        }
        self._states = {state.name: _layers(state, spec, context) for state in spec.program.states}

    def constants(self, graph: Graph) -> dict[Value, object]:
        """Give the leaves of a graph that are the same at each launch."""
        found: dict[Value, object] = {}
        for leaf in graph.leaves:
            match leaf.kind:
                case "weight":
                    found[leaf.value] = self._weights[leaf.name]
                case "buffer":
                    found[leaf.value] = self._buffers[leaf.name]
                case "literal":
                    assert leaf.data is not None
                    found[leaf.value] = self._context.memory.to_device(leaf.data)
                case "state":
                    state = graph.types[leaf.value]
                    assert isinstance(state, StateType)
                    found[leaf.value] = self._states[state.group][state.layer]
        return found


def _shape(buffer: BufferDef, program: ProgramDef) -> tuple[int, ...]:
    sizes = {symbol.name: symbol.maximum for symbol in program.symbols}
    return tuple(size if isinstance(size, int) else size.at(sizes) for size in buffer.shape)


def _layers(state: StateSpec, spec: CompileSpec, context: TorchContext) -> list[tuple[object, ...]]:
    layout = spec.binding.layouts[state.name]
    num_blocks = spec.num_blocks[state.name]
    return [
        tuple(
            context.memory.alloc(
                layout.shape(plane, num_blocks=num_blocks, block_size=state.block_size),
                plane.dtype,
            )
            for plane in state.planes
        )
        for _ in range(state.layers)
    ]
