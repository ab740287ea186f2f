"""Acme's device, with nothing behind it: the host, in numpy, and everything that is mandatory.

    __init__   the hooks: who it is, what it finds, who has a kernel
    memory     tensors on the device, which here are numpy arrays
    kernels    a function for each mandatory primitive; compounds come to it in pieces
    program    a bound program, run node by node

It is right and slow. Replace what Acme does better, and let the suite judge: one file at a
time, in this order: memory, the kernels that cost most, then `compile`.
"""

from __future__ import annotations

from functools import partial

from octavo_platforms import hookimpl
from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, PlatformInfo, Probe
from octavo_platforms.errors import CannotStart
from octavo_platforms.platform import (
    DeviceContext,
    Kernel,
    Memory,
    Program,
    StateKernel,
    StateLayout,
    Unsupported,
)
from octavo_platforms.specs import (
    AttentionSpec,
    CompileSpec,
    KVReadSpec,
    KVWriteSpec,
    LinearSpec,
    OpSpec,
)

from . import kernels
from .memory import HostMemory, OpenHost, host_bytes, opened
from .program import WalkedProgram

LAYOUT = StateLayout("slots first", ("B", "P", "K", "D"))


class AcmePlatform:
    """The plugin object. Each method is a hook; the contract says what each one promises."""

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Promise float32, and no more than was proved."""
        return PlatformInfo(
            name="acme", device="host", vendor="Acme", dtypes=("float32",), host_memory=True
        )

    @hookimpl
    def probe(self) -> Probe:
        """Be there, and never be chosen unasked: that is what priority 0 means."""
        return Probe(True, "the host, in numpy", 0)

    @hookimpl
    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """List the host."""
        return (DeviceInfo(0, "the host", host_bytes()),)

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open the host. Raises: CannotStart, for any other device, and for a mode."""
        if devices != (0,):
            raise CannotStart(f"'acme' has device 0 only, not {list(devices)}; use --devices 0")
        if settings.mode is not None:
            raise CannotStart(f"'acme' has no mode '{settings.mode}'; write --device acme")
        return OpenHost(self.discover_devices())

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the host's memory."""
        return HostMemory(opened(context))

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | None:
        """Give the function of a primitive; None for a compound, which then comes in pieces."""
        run = kernels.PRIMITIVES.get(spec.op)
        if run is None:
            return None
        return Kernel(name=f"acme.{spec.op}", run=partial(run, **dict(spec.attrs)))

    @hookimpl
    def bind_linear(self, spec: LinearSpec) -> Kernel:
        """Give the product."""
        return Kernel(name="acme.linear", run=kernels.linear)

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel | Unsupported:
        """Give attention."""
        if spec.softcap is not None or spec.sinks or spec.slopes:
            return Unsupported("scores are what products make them: no caps, sinks or slopes")
        if spec.window is not None:
            return Unsupported("whole contexts are attended to, windows are not")
        run = partial(kernels.attention, scale=spec.scale, window=spec.window)
        return _in_our_layout(Kernel(name="acme.attention", run=run))

    @hookimpl
    def bind_kv_write(self, spec: KVWriteSpec) -> StateKernel | Unsupported:
        """Give the write; a turn before it comes in pieces."""
        if spec.op != "kv_write":
            return Unsupported("keys are turned and written one after the other")
        return _in_our_layout(Kernel(name="acme.kv_write", run=kernels.kv_write))

    @hookimpl
    def bind_kv_read(self, spec: KVReadSpec) -> StateKernel:
        """Give the read."""
        return _in_our_layout(Kernel(name="acme.kv_read", run=kernels.kv_read))

    @hookimpl
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Walk the graph at each launch. A compiler would do its work here."""
        return WalkedProgram(spec)


def _in_our_layout(kernel: Kernel) -> StateKernel:
    return StateKernel(name=kernel.name, layouts=(LAYOUT,), at=lambda layout: kernel)


platform = AcmePlatform()
