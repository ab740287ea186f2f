"""The program: entries that share weights, states and buffers, compiled before they are needed.

Each entry is compiled once for each shape of its inputs. States and buffers are donated to a
launch, which gives them back changed in place; what comes back takes their place here at
once, before the device is done, so that launches run in the order they were made.

Knows nothing of ops or buckets' sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol, cast

import jax
import numpy as np

from octavo_jax.arrays import JAX_OF, array_of, owned, to_host, zeros
from octavo_jax.context import JaxContext
from octavo_jax.entry import Entry, Named, Planes, StateKey
from octavo_platforms.errors import CannotStart
from octavo_platforms.graph import Dim, Size, TensorType
from octavo_platforms.inputs import (
    DeviceRef,
    Pending,
    StepInputs,
    StepResult,
    StepShape,
    arrays_of,
    is_tap,
    made_tokens,
)
from octavo_platforms.ladder import occurring
from octavo_platforms.platform import Report
from octavo_platforms.program import StateSpec
from octavo_platforms.shapes import ShapePolicy
from octavo_platforms.specs import CompileSpec
from octavo_platforms.tensor import Array, HostTensor

JOINED = "step"

Shapes = tuple[tuple[int, ...], ...]


class _Asked(Protocol):
    """What every array of JAX has, and its declared type leaves out."""

    def is_ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class JaxRef:
    """An output that stays on the device."""

    name: str
    array: jax.Array


@dataclass(frozen=True, slots=True)
class JaxPending:
    """A launch that the device may still be busy with. `sizes` are the true ones, by symbol."""

    outputs: Mapping[str, jax.Array]
    types: Mapping[str, TensorType]
    sizes: Mapping[str, int]

    def ref(self, output: str) -> DeviceRef:
        """Name an output as the input of a later launch."""
        return JaxRef(output, self.outputs[output])

    def ready(self) -> bool:
        """Tell whether the device has come to the end of it."""
        return all(cast(_Asked, array).is_ready() for array in self.outputs.values())

    def read(self) -> StepResult:
        """Wait for the outputs, and cut their padding off."""
        asked = (name for name in self.outputs if not is_tap(name))
        found = {name: to_host(self.outputs[name]) for name in asked}
        return made_tokens(
            {
                name: HostTensor(each.array[self._true(self.types[name].shape)], each.dtype)
                for name, each in found.items()
            }
        )

    def _true(self, shape: tuple[Size, ...]) -> tuple[slice, ...]:
        known = (isinstance(size, Dim) and size.symbol in self.sizes for size in shape)
        return tuple(
            slice(size.at(self.sizes)) if isinstance(size, Dim) and is_known else slice(None)
            for size, is_known in zip(shape, known, strict=True)
        )


class JaxProgram:
    """All entries of a program on one device.

    Raises: CannotStart, for a kernel that does not fit into a compiled entry.
    """

    def __init__(self, spec: CompileSpec, context: JaxContext, policy: ShapePolicy) -> None:
        self._definition = spec.program
        self._place = context.sharding
        self._policy = policy
        self._entries = {name: Entry(bound) for name, bound in spec.binding.entries.items()}
        self._weights = {name: array_of(tensor) for name, tensor in spec.weights.items()}
        most = {symbol.name: symbol.maximum for symbol in spec.program.symbols}
        self._buffers = {
            buffer.name: zeros(_extents(buffer.shape, most), buffer.dtype, self._place)
            for buffer in spec.program.buffers
        }
        self._states: dict[StateKey, Planes] = {
            (state.name, layer): self._planes(state, spec)
            for state in spec.program.states
            for layer in range(state.layers)
        }
        self._compiled: dict[tuple[str, Shapes], jax.stages.Compiled] = {}

    @property
    def entries(self) -> frozenset[str]:
        """Give the names of the entries."""
        return frozenset(self._entries)

    @property
    def shape_policy(self) -> ShapePolicy:
        """Give the sizes that were, or will be, warmed up; any other is compiled when it comes."""
        return self._policy

    @property
    def num_compilations(self) -> int:
        """Count what was compiled. After `warm_up`, padded launches leave it as it is."""
        return len(self._compiled)

    def launch(self, inputs: StepInputs) -> Pending:
        """Start one entry. Its arrays are copied, so that their owner may reuse them."""
        entry = self._entries[inputs.entry]
        arrays = arrays_of(inputs)
        given = {name: _given(arrays[name], found) for name, found in entry.inputs.items()}
        key = (inputs.entry, tuple(array.shape for array in given.values()))
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
        outputs, states, buffers = self._compiled[key](*self._held(entry), given)
        self._states.update(zip(entry.states, states, strict=True))
        self._buffers.update(buffers)
        return JaxPending(outputs, entry.outputs, _sizes(inputs.shape))

    def warm_up(self, report: Report) -> None:
        """Compile every shape that padded steps can have. Raises: CannotStart."""
        entries = [JOINED] if JOINED in self._entries else sorted(self._entries)
        wanted = dict.fromkeys(
            (entry, _shapes(self._entries[entry], sizes))
            for entry in entries
            for sizes in occurring(self._definition, self._policy)
        )
        missing = [key for key in wanted if key not in self._compiled]
        report("compiling", 0, len(missing))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            key_of = {pool.submit(self._compile, *key): key for key in missing}
            for done, future in enumerate(as_completed(key_of), 1):
                self._compiled[key_of[future]] = future.result()
                report("compiling", done, len(missing))

    def close(self) -> None:
        """Let go of weights, buffers and states."""
        self._compiled.clear()
        self._weights.clear()
        self._buffers.clear()
        self._states.clear()

    def _held(self, entry: Entry) -> tuple[Named, tuple[Planes, ...], Named]:
        """Give what an entry reads beside its inputs."""
        return (
            {name: self._weights[name] for name in entry.weights},
            tuple(self._states[key] for key in entry.states),
            {name: self._buffers[name] for name in entry.buffers},
        )

    def _compile(self, name: str, shapes: Shapes) -> jax.stages.Compiled:
        entry = self._entries[name]
        struct: Callable[..., jax.ShapeDtypeStruct] = jax.ShapeDtypeStruct
        inputs = {
            each: struct(shape, JAX_OF[found.dtype], sharding=self._place)
            for (each, found), shape in zip(entry.inputs.items(), shapes, strict=True)
        }
        traced = jax.jit(entry.run, donate_argnums=(1, 2)).trace(*self._held(entry), inputs)
        try:
            compiled: jax.stages.Compiled = traced.lower().compile()
        except jax.errors.JaxRuntimeError as error:
            sizes = dict(zip(entry.inputs, shapes, strict=True))
            raise CannotStart(f"XLA cannot compile '{name}' for {sizes}: {error}") from error
        return compiled

    def _planes(self, state: StateSpec, spec: CompileSpec) -> Planes:
        layout = spec.binding.layouts[state.name]
        blocks = spec.num_blocks[state.name]
        return tuple(
            zeros(
                layout.shape(plane, num_blocks=blocks, block_size=state.block_size),
                plane.dtype,
                self._place,
            )
            for plane in state.planes
        )


def _given(found: Array | DeviceRef, declared: TensorType) -> Array | jax.Array:
    if isinstance(found, np.ndarray):
        return owned(found, declared.dtype)
    assert isinstance(found, JaxRef)
    return found.array


def _shapes(entry: Entry, sizes: Mapping[str, int]) -> Shapes:
    return tuple(_extents(found.shape, sizes) for found in entry.inputs.values())


def _extents(shape: tuple[Size, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else size.at(sizes) for size in shape)


def _sizes(shape: StepShape) -> Mapping[str, int]:
    return {
        "T": shape.num_tokens,
        "R": shape.num_requests,
        "S": shape.num_rows,
        "Q": shape.num_scores,
    }
