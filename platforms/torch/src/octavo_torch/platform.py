"""The platform: the contract's hooks, answered with plain PyTorch.

torch is imported when a device is opened, so that a plugin made from this can be asked who
it is and what it finds in an instant.

Knows no vendor: what looks at the hardware is given by the plugin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from octavo_platforms.capabilities import (
    DeviceInfo,
    DeviceSettings,
    MemoryStats,
    PlatformInfo,
    Probe,
)
from octavo_platforms.errors import CannotStart
from octavo_platforms.foreign import ForeignModel, ForeignSpec
from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import (
    DeviceContext,
    Kernel,
    Memory,
    Program,
    StateKernel,
    Unsupported,
)
from octavo_platforms.program import ProgramDef
from octavo_platforms.ranks import Communicator, GroupSpec
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
from octavo_platforms.tensor import DType

Shapes = Callable[[ProgramDef], ShapePolicy]
HOST = "cpu"
IN_FLIGHT = 2
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch looks at it when it makes its first array


class TorchPlatform:
    """A plugin object for a torch device.

    `device` is torch's name for it. `probe` and `discover` look at the hardware without
    torch; `stats` tells a device's memory by its index. `overrides` are plugin objects whose
    kernels are asked first. `standing` is how its path was proved (`PlatformInfo`).

    `extension` makes torch know the device, as importing a vendor's package does; it raises
    CannotStart. `shapes` gives a program's buckets, for a device that compiles each new shape:
    then every launch of equal sizes runs the same ops on the same shapes, and warming up runs
    each of them once.
    """

    def __init__(
        self,
        *,
        name: str,
        device: str,
        vendor: str,
        dtypes: tuple[DType, ...],
        probe: Callable[[], Probe],
        discover: Callable[[], tuple[DeviceInfo, ...]],
        stats: Callable[[int], MemoryStats],
        overrides: Sequence[object] = (),
        standing: str = "run",
        extension: Callable[[], None] | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        self.overrides = tuple(overrides)
        self._probe = probe
        self._discover = discover
        self._stats = stats
        self._extension = extension
        self._shapes = shapes
        self._info = PlatformInfo(
            name=name,
            device=device,
            vendor=vendor,
            dtypes=dtypes,
            claims=frozenset({"step"} if shapes is not None else {"step", "batch_invariant"}),
            max_in_flight=1 if device == HOST else IN_FLIGHT,
            host_memory=device == HOST,
            standing=standing,
            ranks="process" if device == HOST else "single",
        )

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Say what was given."""
        return self._info

    @hookimpl
    def probe(self) -> Probe:
        """Ask the plugin."""
        return self._probe()

    @hookimpl
    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """Ask the plugin."""
        return self._discover()

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open one device.

        Effects: sets torch's number of threads, where the settings name one. On the host, asks
            for large pages, where the environment does not say otherwise, because finding and
            clearing memory is most of what loading takes.
        Raises: CannotStart, for a device that is not there, for several, and for a mode.
        """
        name, index = self._info.name, self._only(devices)
        known = {info.index: info for info in self._discover()}
        if index not in known:
            raise CannotStart(
                f"'{name}' has no device {index}, only {sorted(known)}; choose with --devices"
            )
        if settings.mode is not None:
            raise CannotStart(
                f"'{name}' has no mode '{settings.mode}'; write --device {name} without it"
            )
        if self._info.host_memory:
            os.environ.setdefault(_LARGE_PAGES, "1")
        import torch

        from octavo_torch.context import TorchContext
        from octavo_torch.memory import TorchMemory
        from octavo_torch.ranks import Rendezvous

        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        if self._extension is not None:
            self._extension()
        kind = self._info.device
        device = torch.device(kind) if kind == HOST else torch.device(kind, index)
        memory = TorchMemory(device, lambda: self._stats(index))
        rank, ranks = settings.rank, settings.ranks
        return TorchContext(
            known[index],
            device,
            memory,
            batch_invariant=settings.batch_invariant,
            rendezvous=Rendezvous(settings.rendezvous, rank=rank, ranks=ranks),
        )

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the device's memory."""
        from octavo_torch.context import opened

        return opened(context).memory

    @hookimpl
    def make_communicator(self, spec: GroupSpec, context: DeviceContext) -> Communicator:
        """Give a group that talks over gloo."""
        from octavo_torch.context import opened
        from octavo_torch.ranks import TorchCommunicator

        return TorchCommunicator(spec, opened(context).rendezvous)

    @hookimpl
    def bind_collective(self, spec: OpSpec, communicator: Communicator) -> Kernel | None:
        """Call the communicator, whoever made it."""
        from octavo_torch.ops.ranks import bind_collective

        return bind_collective(spec, communicator)

    @hookimpl
    def bind_op(self, spec: OpSpec, context: DeviceContext) -> Kernel | Unsupported | None:
        """Give a primitive, or a compound that is faster whole."""
        from octavo_torch.context import opened
        from octavo_torch.ops import bind_op
        from octavo_torch.ops.invariant import invariant_op

        found = bind_op(spec, may_wait=self._info.device == HOST)
        if found is None or not opened(context).batch_invariant:
            return found
        return invariant_op(spec, found)

    @hookimpl
    def bind_linear(self, spec: LinearSpec, context: DeviceContext) -> Kernel:
        """Give torch's own linear layer."""
        from octavo_torch.context import opened
        from octavo_torch.ops.dense import linear
        from octavo_torch.ops.invariant import invariant_linear

        found = linear(spec)
        return invariant_linear(found) if opened(context).batch_invariant else found

    @hookimpl
    def bind_attention(
        self, spec: AttentionSpec, context: DeviceContext
    ) -> StateKernel | Unsupported:
        """Give attention over gathered blocks, in known shapes where the device wants them."""
        from octavo_torch.context import opened
        from octavo_torch.ops.attention import attention
        from octavo_torch.ops.bounded import bounded_attention
        from octavo_torch.ops.invariant import invariant_attention
        from octavo_torch.ops.tiles import tiled_attention

        if opened(context).batch_invariant and spec.lengths == "device":
            return Unsupported("batch invariant tiles follow from lengths that the host knows")
        if opened(context).batch_invariant and spec.sinks:
            return Unsupported("batch invariant products know no sinks")
        if opened(context).batch_invariant and spec.slopes and self._info.device != HOST:
            return Unsupported("batch invariant products know slopes on the host alone")
        if opened(context).batch_invariant:
            return invariant_attention(spec)
        if spec.lengths == "device":
            return bounded_attention(spec)
        if self._shapes is not None:
            return tiled_attention(spec)
        return attention(spec, opened(context).device)

    @hookimpl
    def bind_kv_write(self, spec: KVWriteSpec, context: DeviceContext) -> StateKernel | Unsupported:
        """Give the write, alone or with the turn before it."""
        from octavo_torch.context import opened
        from octavo_torch.ops.state import kv_write, rotary_kv_write

        if spec.op == "kv_write":
            return kv_write()
        if opened(context).batch_invariant:
            return Unsupported("turning and writing at once is not batch invariant")
        return rotary_kv_write(spec)

    @hookimpl
    def bind_kv_read(self, spec: KVReadSpec) -> StateKernel:
        """Give the read by slot."""
        from octavo_torch.ops.state import kv_read

        return kv_read()

    @hookimpl
    def bind_cross_attention(
        self, spec: CrossAttentionSpec, context: DeviceContext
    ) -> StateKernel | Unsupported:
        """Give attention over tiles of tokens that see the whole of what was encoded."""
        from octavo_torch.context import opened
        from octavo_torch.ops.cross import cross_attention

        if opened(context).batch_invariant:
            return Unsupported("no attention to an encoder's rows here is batch invariant")
        return cross_attention(spec)

    @hookimpl
    def bind_latent_attention(
        self, spec: LatentAttentionSpec, context: DeviceContext
    ) -> StateKernel | Unsupported:
        """Give attention over latents, made of that over gathered blocks."""
        from octavo_torch.context import opened
        from octavo_torch.ops.latent import latent_attention, over_rows

        if opened(context).batch_invariant:
            return Unsupported("no product of queries and latents here is batch invariant")
        rows = self.bind_attention(over_rows(spec), context)
        return rows if isinstance(rows, Unsupported) else latent_attention(spec, rows)

    @hookimpl
    def bind_latent_rows(self, spec: LatentRowsSpec) -> StateKernel:
        """Give the write of latents and the read by slot."""
        from octavo_torch.ops.latent import latent_rows

        return latent_rows(spec)

    @hookimpl
    def bind_kv_copy(self, spec: CopySpec) -> StateKernel:
        """Give the copy of blocks or rows."""
        from octavo_torch.ops.recurrent import state_copy

        return state_copy(spec)

    @hookimpl
    def bind_state_mixer(self, spec: MixerSpec, context: DeviceContext) -> StateKernel | None:
        """Give a convolution or a scan, in known shapes where the device wants them."""
        from octavo_torch.context import opened
        from octavo_torch.ops.scans import bind_state_mixer

        is_invariant = opened(context).batch_invariant
        return bind_state_mixer(
            spec, is_by_size=self._shapes is not None, is_invariant=is_invariant
        )

    @hookimpl
    def bind_model(self, spec: ForeignSpec, context: DeviceContext) -> ForeignModel | Unsupported:
        """Run a model of transformers, with our attention in its place."""
        from octavo_torch.context import opened
        from octavo_torch.foreign import bind_model

        if opened(context).batch_invariant:
            return Unsupported("a model run by its own code is not batch invariant")
        return bind_model(spec, opened(context), self._policy)

    @hookimpl
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Flatten every entry to a list of calls."""
        from octavo_torch.context import opened
        from octavo_torch.program import TorchProgram

        return TorchProgram(spec, opened(context), self._policy(spec.program))

    def _policy(self, program: ProgramDef) -> ShapePolicy:
        return EXACT.of(program) if self._shapes is None else self._shapes(program)

    def _only(self, devices: tuple[int, ...]) -> int:
        if len(devices) != 1:
            raise CannotStart(
                f"'{self._info.name}' opens one device a process, not {list(devices)}; "
                "use --devices 0"
            )
        return devices[0]
