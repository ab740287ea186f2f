"""The plugin object: the contract's hooks, answered with JAX.

Knows no device by name; whoever makes the object says which runtime of JAX it means. jax is
imported by what the hooks call, never here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

from octavo_jax.host import memory_of_host
from octavo_platforms.capabilities import (
    DeviceInfo,
    DeviceSettings,
    MemoryStats,
    PlatformInfo,
    Probe,
)
from octavo_platforms.errors import CannotStart
from octavo_platforms.hooks import hookimpl
from octavo_platforms.ladder import Ladder, climbing
from octavo_platforms.platform import (
    DeviceContext,
    Kernel,
    Memory,
    Program,
    StateKernel,
    Unsupported,
)
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

DTYPES: tuple[DType, ...] = ("float32", "bfloat16")
IN_FLIGHT = 2

# what comes with rows whose choice is shaped: few sizes, each compiled when it first comes
_SHAPED = MappingProxyType(
    {
        "H": Ladder(least=64, factor=4),
        "B": Ladder(least=16, factor=16),
        "A": Ladder(least=1, factor=16),
    }
)


class JaxPlatform:
    """A platform on a runtime of JAX.

    `device` is the runtime's name in JAX. `overrides` are asked before this object. Without a
    `probe` it is found and never chosen unasked; without `discover` it has one device of the
    host's memory; without `stats` the device is asked. `tokens` and `rows` are the sizes that
    steps are padded to.
    """

    def __init__(
        self,
        *,
        name: str,
        device: str,
        vendor: str,
        dtypes: Sequence[DType] = DTYPES,
        overrides: Sequence[object] = (),
        probe: Callable[[], Probe] | None = None,
        discover: Callable[[], tuple[DeviceInfo, ...]] | None = None,
        stats: Callable[[int], MemoryStats] | None = None,
        tokens: Ladder | None = None,
        rows: Ladder | None = None,
        block_size: int = 16,
        host_memory: bool = False,
        standing: str = "run",
    ) -> None:
        self.overrides = tuple(overrides)
        self._device = device
        self._probe = probe
        self._discover = discover
        self._stats = stats
        self._tokens = tokens or Ladder(least=16, factor=2)
        self._rows = rows or Ladder(least=16, factor=4)
        self._info = PlatformInfo(
            name=name,
            device=device,
            vendor=vendor,
            dtypes=tuple(dtypes),
            claims=frozenset({"step"}),
            max_in_flight=IN_FLIGHT,
            block_size=block_size,
            host_memory=host_memory,
            standing=standing,
        )

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        """Say who this is."""
        return self._info

    @hookimpl
    def probe(self) -> Probe:
        """Say whether there is a device."""
        if self._probe is not None:
            return self._probe()
        return Probe(True, f"XLA's runtime '{self._device}'; used where it is named", 0)

    @hookimpl
    def discover_devices(self) -> tuple[DeviceInfo, ...]:
        """List the devices."""
        if self._discover is not None:
            return self._discover()
        return (DeviceInfo(0, self._device, memory_of_host().total_bytes),)

    @hookimpl
    def open_device(self, devices: tuple[int, ...], settings: DeviceSettings) -> DeviceContext:
        """Open one device. Raises: CannotStart."""
        name = self._info.name
        known = {device.index: device for device in self.discover_devices()}
        if len(devices) != 1 or devices[0] not in known:
            raise CannotStart(
                f"the platform '{name}' runs on one of its devices {sorted(known)}, not on "
                f"{devices}; use --devices {min(known, default=0)}"
            )
        if settings.mode is not None:
            raise CannotStart(f"'{name}' has no mode '{settings.mode}'; use --device {name}")
        if settings.threads is not None:
            raise CannotStart(
                f"XLA takes all the processors that it may run on, and cannot take "
                f"{settings.threads}; bind the process to fewer instead"
            )
        from octavo_jax.context import opened

        return opened(self._device, known[devices[0]], self._stats)

    @hookimpl
    def make_memory(self, context: DeviceContext) -> Memory:
        """Give the device's memory."""
        from octavo_jax.context import ours
        from octavo_jax.memory import JaxMemory

        return JaxMemory(ours(context))

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | Unsupported | None:
        """Give any primitive of the catalogue."""
        from octavo_jax import ops

        return ops.bind_op(spec)

    @hookimpl
    def bind_linear(self, spec: LinearSpec) -> Kernel | Unsupported:
        """Give a linear layer."""
        from octavo_jax import ops

        return ops.bind_linear(spec)

    @hookimpl
    def bind_attention(self, spec: AttentionSpec) -> StateKernel:
        """Give attention over gathered blocks."""
        from octavo_jax.ops.attention import bind_attention

        return bind_attention(spec)

    @hookimpl
    def bind_kv_write(self, spec: KVWriteSpec) -> StateKernel | Unsupported:
        """Give the write of keys and values."""
        from octavo_jax.ops.state import bind_kv_write

        return bind_kv_write(spec)

    @hookimpl
    def bind_kv_read(self, spec: KVReadSpec) -> StateKernel:
        """Give the read of keys and values."""
        from octavo_jax.ops.state import bind_kv_read

        return bind_kv_read(spec)

    @hookimpl
    def bind_cross_attention(self, spec: CrossAttentionSpec) -> StateKernel:
        """Give attention to an encoder's rows."""
        from octavo_jax.ops.cross import bind_cross_attention

        return bind_cross_attention(spec)

    @hookimpl
    def bind_latent_attention(self, spec: LatentAttentionSpec) -> StateKernel:
        """Give attention over latents."""
        from octavo_jax.ops.latent import bind_latent_attention

        return bind_latent_attention(spec)

    @hookimpl
    def bind_latent_rows(self, spec: LatentRowsSpec) -> StateKernel:
        """Give the write of latents and the read by slot."""
        from octavo_jax.ops.latent import bind_latent_rows

        return bind_latent_rows(spec)

    @hookimpl
    def bind_kv_copy(self, spec: CopySpec) -> StateKernel:
        """Give the copy of blocks or rows."""
        from octavo_jax.ops.recurrent import state_copy

        return state_copy(spec)

    @hookimpl
    def bind_state_mixer(self, spec: MixerSpec) -> StateKernel | None:
        """Give a convolution or a scan."""
        from octavo_jax.ops.scans import bind_state_mixer

        return bind_state_mixer(spec)

    @hookimpl
    def compile(self, spec: CompileSpec, context: DeviceContext) -> Program:
        """Make each entry one traced function. Raises: CannotStart, for a kernel that prepares."""
        from octavo_jax.context import ours
        from octavo_jax.program import JaxProgram

        sizes = climbing(spec.program, {"T": self._tokens, "S": self._rows, **_SHAPED})
        return JaxProgram(spec, ours(context), sizes)
