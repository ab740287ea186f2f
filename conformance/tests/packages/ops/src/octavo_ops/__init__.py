"""A platform with two ops of its own: a gate with a decomposition, and a tally with none."""

from __future__ import annotations

from octavo_platforms import hookimpl
from octavo_platforms.capabilities import DeviceInfo, MemoryStats, Probe
from octavo_platforms.ops import PrivateOp
from octavo_platforms.platform import Kernel, Unsupported
from octavo_platforms.specs import OpSpec
from octavo_torch import TorchPlatform

from .meaning import COUNT, SQUARE_GATE

DEVICE = DeviceInfo(0, "Acme Two", 8 << 30)


class Kernels:
    """The private ops, and kernels for them."""

    @hookimpl
    def private_ops(self) -> tuple[PrivateOp, ...]:
        """Add two ops to the catalogue."""
        return (SQUARE_GATE, COUNT)

    @hookimpl
    def bind_op(self, spec: OpSpec) -> Kernel | Unsupported | None:
        """Give both; the gate in float32 only, so that elsewhere its primitives run."""
        if "::" not in spec.op:
            return None
        from . import kernels

        if spec.op == COUNT.op.name:
            return Kernel(name="ops.count", run=kernels.count)
        if "float32" not in str(spec.inputs[0]):
            return Unsupported("the square gate is for float32")
        return Kernel(name="ops.square_gate", run=kernels.square_gate)


platform = TorchPlatform(
    name="acme_ops",
    device="cpu",
    vendor="Acme",
    dtypes=("float32", "bfloat16"),
    probe=lambda: Probe(True, "one Acme Two", 0),
    discover=lambda: (DEVICE,),
    stats=lambda index: MemoryStats(DEVICE.memory_bytes, DEVICE.memory_bytes),
    overrides=[Kernels()],
)
