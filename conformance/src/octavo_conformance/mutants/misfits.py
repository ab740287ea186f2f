"""Misfits: plugins that compute rightly and behave wrongly.

Knows nothing of ops or of who finds them.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import numpy as np

from octavo_conformance.oracle import dense
from octavo_conformance.oracle.platform import OracleContext, OracleMemory
from octavo_conformance.oracle.program import OracleProgram
from octavo_platforms import shapes
from octavo_platforms.capabilities import DeviceSettings, Probe
from octavo_platforms.hooks import hookimpl
from octavo_platforms.inputs import DeviceRef, Pending, StepInputs, StepResult
from octavo_platforms.platform import DeviceContext, DeviceTensor, Kernel, Memory, Program
from octavo_platforms.shapes import ShapePolicy, padded
from octavo_platforms.specs import CompileSpec, LinearSpec
from octavo_platforms.tensor import DType, HostTensor, storage

FRAMEWORKS = ("torch", "jax", "tensorflow")


class AliasesTheHost:
    """Keeps the host's own array instead of a copy."""

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the wrong memory."""
        return _Aliasing(_opened(context))


class PacksTheHostsArray:
    """Keeps the host's own array as a packed weight."""

    @hookimpl
    def bind_linear(self, spec: LinearSpec) -> Kernel:
        """Give the right product of a weight that is not its own."""
        return Kernel(name="planted.packed", run=dense.linear, pack_host=DeviceTensor)


class GivesUsedMemory:
    """Gives memory as it was found."""

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the wrong memory."""
        return _Used(_opened(context))


class NeverFrees:
    """Counts what it gives, and never what comes back."""

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the wrong memory."""
        return _Leaking(_opened(context))


class ReadsLate:
    """Runs a launch when it is read, from arrays that may be others by then."""

    @hookimpl
    def compile(self, spec: CompileSpec) -> Program:
        """Give the wrong program."""
        return _LateProgram(OracleProgram(spec))


class OpensAnything:
    """Opens devices that are not there."""

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open whatever was asked for."""
        return OracleContext("exact")


class ProbeRaises:
    """Raises where it should say no."""

    @hookimpl
    def probe(self) -> Probe:
        """Raise what a missing driver raises."""
        raise OSError("libdevice.so.1: cannot open shared object file")


class KnowsAnotherHook:
    """Implements a hook that the contract does not have."""

    @hookimpl
    def bind_everything(self) -> None:
        """Be called by nobody."""


class ImportsTooMuch:
    """Imports the first framework that it finds when it is asked for a device."""

    @hookimpl
    def probe(self) -> Probe:
        """Say yes, seconds later."""
        for name in FRAMEWORKS:
            if importlib.util.find_spec(name) is not None:
                importlib.import_module(name)
                break
        else:
            raise ImportError(f"none of {', '.join(FRAMEWORKS)} is there")
        return Probe(True, "found, at length", 0)


class MeddlesWithTheContract:
    """Puts a function of its own in place of one of the contract's, when it is asked."""

    @hookimpl
    def probe(self) -> Probe:
        """Say yes, and change what everybody else will call."""
        shapes.padded = _padded
        return Probe(True, "found, and everything else with it", 0)


def _padded(inputs: StepInputs, policy: ShapePolicy) -> StepInputs:
    return padded(inputs, policy)


class _Aliasing(OracleMemory):
    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        return DeviceTensor(tensor)


class _Used(OracleMemory):
    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        return self.to_device(HostTensor(np.ones(shape, storage(dtype)), dtype))


class _Leaking(OracleMemory):
    def free(self, tensor: DeviceTensor) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _LateProgram:
    program: OracleProgram

    @property
    def entries(self) -> frozenset[str]:
        return self.program.entries

    @property
    def shape_policy(self) -> ShapePolicy:
        return self.program.shape_policy

    def launch(self, inputs: StepInputs) -> Pending:
        return _Late(self.program, inputs)

    def warm_up(self, report: object) -> None:
        pass

    def close(self) -> None:
        self.program.close()


@dataclass(frozen=True, slots=True)
class _Late:
    program: OracleProgram
    inputs: StepInputs

    def ref(self, output: str) -> DeviceRef:
        return self.program.launch(self.inputs).ref(output)

    def ready(self) -> bool:
        return False

    def read(self) -> StepResult:
        return self.program.launch(self.inputs).read()


def _opened(context: DeviceContext) -> OracleContext:
    assert isinstance(context, OracleContext)
    return context
