"""The program: entries that share weights, buffers and states, launched one after the other.

A launch runs to its end on the calling thread, as far as the device does: on a CPU it is
done when `launch` returns; elsewhere the work is queued, and `read` waits for it.

Knows nothing of how an entry is run (`calls`), how its outputs come to the host (`results`) nor
of what a kernel does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from octavo_platforms.binding import BoundEntry
from octavo_platforms.graph import Dim, Graph, Size, StateType, Value
from octavo_platforms.inputs import (
    DeviceRef,
    Pending,
    StepInputs,
    StepShape,
    arrays_of,
)
from octavo_platforms.platform import Report
from octavo_platforms.program import BufferDef, ProgramDef
from octavo_platforms.shapes import ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, DType
from octavo_torch.calls import Calls, flat
from octavo_torch.context import TorchContext
from octavo_torch.memory import from_host
from octavo_torch.parcel import delivered, one
from octavo_torch.results import WHOLE, Cut, TorchRef, launched
from octavo_torch.states import allocated
from octavo_torch.warm_up import rehearsals


class TorchProgram:
    """All entries of a program on one torch device."""

    def __init__(self, spec: CompileSpec, context: TorchContext, policy: ShapePolicy) -> None:
        self._context = context
        self._program: ProgramDef = spec.program
        self._policy = policy
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
        """Give the sizes that warming up runs; any other runs as it is."""
        return self._policy

    def launch(self, inputs: StepInputs) -> Pending:
        """Run one entry. Its arrays are copied, so that their owner may reuse them.

        Raises: MemoryError, with the numbers.
        """
        entry = self._entries[inputs.entry]
        try:
            with torch.inference_mode():
                outputs = entry.run(inputs)
        except torch.OutOfMemoryError as error:
            free = self._context.memory.stats().free_bytes
            raise MemoryError(
                f"'{inputs.entry}' with {inputs.shape.num_tokens} tokens does not fit into the "
                f"{free} bytes that are free on {self._context.device}; have smaller steps or "
                "fewer blocks"
            ) from error
        is_exact = not self._policy.buckets and inputs.shape.rank_tokens is None
        cut_of = WHOLE if is_exact else entry.cut_of(inputs.shape)
        return launched(outputs, self._context, cut_of)

    def warm_up(self, report: Report) -> None:
        """Run steps such as requests will bring, on the null block and seat."""
        steps = rehearsals(self._program, self._policy)
        for number, inputs in enumerate(steps):
            report("warming up", number, len(steps))
            self.launch(inputs).read()
        report("warming up", len(steps), len(steps))

    def close(self) -> None:
        """Let go of weights, buffers and states."""
        self._entries = {}


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
        self._shapes: Mapping[str, tuple[Size, ...]] = {
            name: graph.tensor_type(value).shape for name, value in graph.outputs
        }
        self._calls: Calls = flat(bound, constants)

    def run(self, inputs: StepInputs) -> dict[str, object]:
        arrays = arrays_of(inputs)
        given: dict[int, object] = {
            value: self._given(arrays[name], dtype) for value, name, dtype in self._inputs
        }
        for place, prepare in self._calls.prepares:
            given[place] = prepare(inputs)
        return self._calls.run(delivered(given, self._device))

    def cut_of(self, step: StepShape) -> dict[str, Cut]:
        """Give the part of each output that is no padding."""
        known = {
            "T": step.num_tokens,
            "R": step.num_requests,
            "S": step.num_rows,
            "Q": step.num_scores,
        }
        return {
            name: tuple(
                slice(size.at(known) if isinstance(size, Dim) and size.symbol in known else None)
                for size in shape
            )
            for name, shape in self._shapes.items()
        }

    def _given(self, found: Array | DeviceRef, dtype: DType) -> object:
        if isinstance(found, TorchRef):
            return found.tensor
        assert isinstance(found, np.ndarray)
        if self._device.type == "cpu":
            return from_host(found, dtype, self._device)
        return one(found, dtype)


class _Shared:
    """What entries share: weights as placed, buffers and states as zeros."""

    def __init__(self, spec: CompileSpec, context: TorchContext) -> None:
        self._context = context
        self._weights = spec.weights
        self._buffers = {
            buffer.name: context.memory.alloc(_shape(buffer, spec.program), buffer.dtype)
            for buffer in spec.program.buffers
        }
        self._states = {
            state.name: allocated(state, spec, context.memory) for state in spec.program.states
        }

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
