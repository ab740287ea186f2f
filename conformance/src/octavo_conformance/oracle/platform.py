"""The oracle as a platform: every primitive bound to its function, every program interpreted.

It is judged by the same suite as all others, runs a whole model (`--device oracle`, slowly),
and is what planted bugs are planted in. It claims no compound and no `step`, so that
decompositions and the two-launch road are walked. Modes: `exact`, the default, holds every
real value in float64 from the weights to the outputs; `rounded` rounds each node's result
to its declared dtype, which tells a wrong kernel from a narrow one; `padded` is exact and asks
for buckets, as platforms do that compile for fixed shapes.

Knows nothing of what runs on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from octavo_conformance.oracle import ORACLE
from octavo_conformance.oracle.program import OracleProgram
from octavo_conformance.oracle.recurrent import Rows
from octavo_platforms.capabilities import (
    DeviceInfo,
    DeviceSettings,
    MemoryStats,
    PlatformInfo,
    Probe,
)
from octavo_platforms.errors import CannotStart
from octavo_platforms.hooks import hookimpl
from octavo_platforms.ops import STANDARD
from octavo_platforms.platform import (
    DeviceContext,
    DeviceTensor,
    Kernel,
    Memory,
    Program,
    StateKernel,
    StateLayout,
    Unsupported,
)
from octavo_platforms.program import StateSpec
from octavo_platforms.shapes import EXACT, ShapePolicy
from octavo_platforms.specs import (
    AttentionSpec,
    CompileSpec,
    CopySpec,
    CrossAttentionSpec,
    KVReadSpec,
    KVWriteSpec,
    LatentAttentionSpec,
    LatentRowsSpec,
    LinearSpec,
    MixerSpec,
    OpSpec,
)
from octavo_platforms.tensor import DTYPES, DType, HostTensor, storage

LAYOUT = StateLayout("BPKD", ("B", "P", "K", "D"))
ROWS = StateLayout("BPC", ("B", "P", "C"))
MODES = ("exact", "rounded", "padded")
BUCKETS = ShapePolicy(
    {
        "T": (4, 16, 64, 256),
        "R": (4, 16),
        "S": (4, 16, 64, 256),
        "M": (8, 64),
        "U": (4, 16),
        "Q": (8, 32),
    }
)


@dataclass(slots=True)
class OracleContext:
    """The host, opened: in which mode, and how many bytes were handed out."""

    mode: str
    used_bytes: int = 0
    devices: tuple[DeviceInfo, ...] = field(default_factory=lambda: (_host(),))

    def close(self) -> None:
        """Give everything back."""
        self.used_bytes = 0


class OracleMemory:
    """Host memory as a device's: tensors are copies of their own."""

    def __init__(self, context: OracleContext) -> None:
        self._context = context

    def alloc(self, shape: tuple[int, ...], dtype: DType) -> DeviceTensor:
        """Give a tensor of zeros."""
        return self._keep(HostTensor(np.zeros(shape, storage(dtype)), dtype))

    def free(self, tensor: DeviceTensor) -> None:
        """Give a tensor's memory back."""
        self._context.used_bytes -= host_of(tensor).num_bytes

    def to_device(self, tensor: HostTensor) -> DeviceTensor:
        """Copy to the device."""
        return self._keep(HostTensor(tensor.array.copy(), tensor.dtype))

    def to_host(self, tensor: DeviceTensor) -> HostTensor:
        """Copy to the host."""
        kept = host_of(tensor)
        return HostTensor(kept.array.copy(), kept.dtype)

    def stats(self) -> MemoryStats:
        """Count what was handed out."""
        total = self._context.devices[0].memory_bytes
        return MemoryStats(total, max(0, total - self._context.used_bytes))

    def _keep(self, tensor: HostTensor) -> DeviceTensor:
        self._context.used_bytes += tensor.num_bytes
        return DeviceTensor(tensor)


class OraclePlatform:
    """The plugin object. `overrides` are asked before it, as in any platform."""

    def __init__(self, name: str = "oracle", overrides: Sequence[object] = ()) -> None:
        self.name = name
        self.overrides = tuple(overrides)

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Promise every dtype, and nothing beyond the primitives."""
        return PlatformInfo(name=self.name, device="host", vendor="none", dtypes=DTYPES)

    @hookimpl
    def probe(self) -> Probe:
        """Be there, and never be chosen unasked."""
        return Probe(True, "numpy in float64, for judging other platforms; slow", 0)

    @hookimpl
    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """List the host."""
        return (_host(),)

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open the host. Raises: CannotStart, for another device or an unknown mode."""
        if devices != (0,):
            raise CannotStart(f"the oracle has device 0 only, not {devices}; use --devices 0")
        mode = settings.mode or MODES[0]
        if mode not in MODES:
            raise CannotStart(f"the oracle has no mode '{mode}'; choose {', '.join(MODES)}")
        return OracleContext(mode)

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the host's memory."""
        return OracleMemory(_ours(context))

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        """Give the function of a primitive."""
        op = STANDARD.get(spec.op)
        if op is None or op.decompose is not None:
            return None
        return Kernel(name=f"oracle.{spec.op}", run=partial(ORACLE[spec.op], **dict(spec.attrs)))

    @hookimpl
    def bind_linear(self, spec: LinearSpec) -> Kernel:
        """Give the product."""
        return Kernel(name="oracle.linear", run=ORACLE["linear"])

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel:
        """Attend as the definition says."""
        attend = partial(
            ORACLE["attention"], scale=spec.scale, window=spec.window, softcap=spec.softcap
        )

        def run(*given: object) -> object:
            sinks, slopes = spec.told_apart(given[5:])
            return attend(*given[:5], sinks=sinks, slopes=slopes)

        return state_kernel("attention", run)

    @hookimpl
    def bind_cross_attention(self, spec: CrossAttentionSpec) -> StateKernel:
        """Attend to all that was encoded."""
        return state_kernel("cross_attention", partial(ORACLE["cross_attention"], scale=spec.scale))

    @hookimpl
    def bind_kv_write(self, spec: KVWriteSpec) -> StateKernel | Unsupported:
        """Write; leave turning to the decomposition."""
        if spec.op != "kv_write":
            return Unsupported("the oracle claims no compound")
        return state_kernel("kv_write", ORACLE["kv_write"])

    @hookimpl
    def bind_kv_read(self, spec: KVReadSpec) -> StateKernel:
        """Read back."""
        return state_kernel("kv_read", ORACLE["kv_read"])

    @hookimpl
    def bind_latent_attention(self, spec: LatentAttentionSpec) -> StateKernel:
        """Attend to keys and values made of latents."""
        run = partial(ORACLE["latent_attention"], scale=spec.scale)
        return state_kernel("latent_attention", run, ROWS)

    @hookimpl
    def bind_latent_rows(self, spec: LatentRowsSpec) -> StateKernel:
        """Write or read."""
        return state_kernel(spec.op, ORACLE[spec.op], ROWS)

    @hookimpl
    def bind_kv_copy(self, spec: CopySpec) -> StateKernel:
        """Copy blocks or rows."""
        return state_kernel("state_copy", ORACLE["state_copy"], in_order(spec.state))

    @hookimpl
    def bind_state_mixer(self, spec: MixerSpec) -> StateKernel:
        """Carry the state from token to token."""
        return mixer_kernel(spec, ORACLE[spec.op])

    @hookimpl
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Interpret, in the mode that the device was opened with."""
        mode = _ours(context).mode
        policy = BUCKETS.of(spec.program) if mode == "padded" else EXACT
        return OracleProgram(spec, is_rounded=mode == "rounded", policy=policy)


def state_kernel(op: str, run: Callable[..., object], layout: StateLayout = LAYOUT) -> StateKernel:
    """Offer a function on planes of one layout as a kernel."""
    kernel = Kernel(name=f"oracle.{op}", run=run)
    return StateKernel(name=kernel.name, layouts=(layout,), at=lambda layout: kernel)


def mixer_kernel(spec: MixerSpec, op: Callable[..., object]) -> StateKernel:
    """Offer a function on one plane of a recurrent state as a kernel on all of them."""
    place = spec.state.place_of(spec.plane)
    attrs = {name: value for name, value in spec.attrs if name != "plane"}

    def run(*given: object) -> object:
        at = next(index for index, each in enumerate(given) if isinstance(each, tuple))
        rows = Rows.given(given[at - 3 : at + 1], place)
        return op(*given[: at - 3], *given[at + 1 :], rows=rows, **attrs)

    return state_kernel(spec.op, run, in_order(spec.state))


def in_order(state: StateSpec) -> StateLayout:
    """Give the layout that has a state's axes as they are named."""
    return StateLayout("".join(state.axes), state.axes)


def host_of(tensor: DeviceTensor) -> HostTensor:
    """See a device tensor of the oracle as what it is. Raises: TypeError, for any other."""
    if not isinstance(tensor, HostTensor):
        raise TypeError(f"the oracle holds host tensors, not a {type(tensor).__name__}")
    return tensor


def _ours(context: DeviceContext) -> OracleContext:
    assert isinstance(context, OracleContext)
    return context


def _host() -> DeviceInfo:
    return DeviceInfo(0, "host", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


platform = OraclePlatform()
