"""The hooks: everything a platform may be asked, on one screen.

Hooks are called while a model is loaded, never in a step. Each `bind_*` gives a kernel, an
instruction for its own `compile`, `Unsupported(reason)`, or None: not mine, ask the next. A
plugin implements what it has and leaves the rest to the base that stands behind it. Mandatory
without a base: `platform_info`, `probe`, `discover_devices`, `open_device`, `make_memory`,
`compile`, and a `bind_op` for the primitives.

Knows nothing of the order in which implementations are asked (`loaded`).
"""

from __future__ import annotations

import pluggy

from octavo_platforms.capabilities import DeviceInfo, DeviceSettings, PlatformInfo, Probe
from octavo_platforms.foreign import ForeignModel, ForeignSpec
from octavo_platforms.ops.private import PrivateOp
from octavo_platforms.platform import (
    DeviceContext,
    Instruction,
    Kernel,
    Memory,
    Program,
    StateKernel,
    Unsupported,
)
from octavo_platforms.ranks import Communicator, GroupSpec
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

PROJECT = "octavo"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class PlatformHooks:
    """What a platform may be asked. Implement with `@hookimpl`, in any subset."""

    @hookspec
    def platform_info(self) -> PlatformInfo:
        """Say who you are and what you promise. Pure data; opens and imports nothing heavy."""
        raise NotImplementedError

    @hookspec
    def probe(self) -> Probe:
        """Say in words whether you find a device. Cheap; never raises."""
        raise NotImplementedError

    @hookspec
    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """List the devices without opening one."""
        raise NotImplementedError

    @hookspec
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open devices by index. Raises: CannotStart, with the cause and a remedy."""
        raise NotImplementedError

    @hookspec
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the memory of an opened device."""
        raise NotImplementedError

    @hookspec
    def make_communicator(self, spec: GroupSpec, context: DeviceContext) -> Communicator:
        """Give a group of ranks to talk to. Meets nobody yet."""
        raise NotImplementedError

    @hookspec
    def private_ops(self) -> tuple[PrivateOp, ...]:
        """List the ops that you add to the catalogue, named `vendor::op`. Pure data."""
        raise NotImplementedError

    @hookspec
    def bind_op(
        self, spec: OpSpec, context: DeviceContext
    ) -> Kernel | Instruction | Unsupported | None:
        """Give a kernel for an op that has no hook of its own."""
        raise NotImplementedError

    @hookspec
    def bind_linear(
        self, spec: LinearSpec, context: DeviceContext
    ) -> Kernel | Instruction | Unsupported | None:
        """Give a kernel for a linear layer."""
        raise NotImplementedError

    @hookspec
    def bind_attention(
        self, spec: AttentionSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that attends, and the layouts it can read."""
        raise NotImplementedError

    @hookspec
    def bind_kv_write(
        self, spec: KVWriteSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that writes keys and values, and the layouts it can write."""
        raise NotImplementedError

    @hookspec
    def bind_kv_read(
        self, spec: KVReadSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that reads keys and values back, and the layouts it can read."""
        raise NotImplementedError

    @hookspec
    def bind_collective(
        self, spec: OpSpec, communicator: Communicator, context: DeviceContext
    ) -> Kernel | Instruction | Unsupported | None:
        """Give a kernel for an op that talks to a group, or does a rank's own part."""
        raise NotImplementedError

    @hookspec
    def bind_latent_attention(
        self, spec: LatentAttentionSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that attends to latents, and the layouts it can read."""
        raise NotImplementedError

    @hookspec
    def bind_latent_rows(
        self, spec: LatentRowsSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that writes latents, or reads them back, and the layouts it knows."""
        raise NotImplementedError

    @hookspec
    def bind_cross_attention(
        self, spec: CrossAttentionSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that attends to an encoder's rows, and the layouts it can read."""
        raise NotImplementedError

    @hookspec
    def bind_kv_copy(
        self, spec: CopySpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that copies blocks or rows of a state, and the layouts it can copy."""
        raise NotImplementedError

    @hookspec
    def bind_state_mixer(
        self, spec: MixerSpec, context: DeviceContext
    ) -> StateKernel | Instruction | Unsupported | None:
        """Give a kernel that carries a recurrent state on, and the layouts it knows."""
        raise NotImplementedError

    @hookspec
    def bind_model(
        self, spec: ForeignSpec, context: DeviceContext
    ) -> ForeignModel | Unsupported | None:
        """Give a model whose architecture has no graph, run by code of your own."""
        raise NotImplementedError

    @hookspec
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program | None:
        """Make a bound program with placed weights ready to launch."""
        raise NotImplementedError
