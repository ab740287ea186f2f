"""The platform: the contract's hooks, answered with instructions for the compiled library.

Loading a library of a few hundred kilobytes is all that a probe does. Modes: `sanitized`
opens the library that was built with run-time checks.

Knows nothing of how instructions are lowered or run.
"""

from __future__ import annotations

from octavo_cpu.host import discover, num_cores
from octavo_cpu.native import operations
from octavo_cpu.native.compiler import LIBRARY, SANITIZED
from octavo_cpu.native.library import missing
from octavo_cpu.native.library import opened as opened_library
from octavo_cpu.native.memory import NativeContext, NativeMemory, opened
from octavo_cpu.native.program import NativeProgram
from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, PlatformInfo, Probe
from octavo_platforms.errors import CannotStart
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import DeviceContext, Instruction, Memory, Program, Unsupported
from octavo_platforms.specs import (
    AttentionSpec,
    CompileSpec,
    KVReadSpec,
    KVWriteSpec,
    LinearSpec,
    OpSpec,
)

NAME = "cpu_native"
SANITIZED_MODE = "sanitized"


class NativePlatform:
    """The plugin object."""

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Promise the whole step in one launch."""
        return PlatformInfo(
            name=NAME,
            device="cpu",
            vendor="host",
            dtypes=operations.DTYPES,
            claims=frozenset({"step"}),
            host_memory=True,
        )

    @hookimpl
    def probe(self) -> Probe:
        """Say whether the compiled library is there; never be chosen unasked."""
        reason = missing()
        words = reason or "a compiled C++ program, for those who want no torch"
        return Probe(reason is None, words, 0)

    @hookimpl
    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """List the host as one device."""
        return discover()

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Load the library and start its threads, one a core unless the settings say how many.

        Raises: CannotStart, for another device or mode, or a library that is not there.
        """
        if devices != (0,):
            raise CannotStart(f"'{NAME}' has device 0 only, not {list(devices)}; use --devices 0")
        if settings.mode not in (None, SANITIZED_MODE):
            raise CannotStart(
                f"'{NAME}' has no mode '{settings.mode}'; write --device {NAME} without it"
            )
        library = opened_library(SANITIZED if settings.mode == SANITIZED_MODE else LIBRARY)
        (device,) = discover()
        return NativeContext(library, device, settings.threads or num_cores())

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the library's memory."""
        return NativeMemory(opened(context).library)

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Instruction | Unsupported | None:
        """Give a primitive, or a compound that is whole here."""
        return operations.of_op(spec)

    @hookimpl
    def bind_linear(self, spec: LinearSpec, context: DeviceContext) -> Instruction | Unsupported:
        """Give a product on a packed weight, or on a shared one as it is."""
        return operations.of_linear(spec, opened(context).library)

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> Instruction | Unsupported:
        """Give attention over the blocks as they lie."""
        return operations.of_attention(spec)

    @hookimpl
    def bind_kv_write(self, spec: KVWriteSpec) -> Instruction | Unsupported:
        """Give the write, alone or with the turn before it."""
        return operations.of_kv_write(spec)

    @hookimpl
    def bind_kv_read(self, spec: KVReadSpec) -> Instruction | Unsupported:
        """Give the read by slot."""
        return operations.of_kv_read(spec)

    @hookimpl
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Hand every entry to the library."""
        return NativeProgram(spec, opened(context), NativeMemory(opened(context).library))
