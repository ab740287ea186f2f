"""Which specs the CPU's own kernels are for, and why not the others.

torch is imported when a kernel is asked for. Knows nothing of how the kernels work.
"""

from __future__ import annotations

from octavo_platforms.hooks import hookimpl
from octavo_platforms.platform import DeviceContext, Kernel, StateKernel, Unsupported
from octavo_platforms.specs import AttentionSpec, LinearSpec, OpSpec
from octavo_platforms.tensor import DType


class CpuKernels:
    """The plugin object that is asked before the base."""

    @hookimpl
    def bind_linear(self, spec: LinearSpec, context: DeviceContext) -> Kernel | Unsupported:
        """Give a packed product, or for a shared weight the best that leaves it as it is."""
        from octavo_cpu import kernels
        from octavo_torch.context import opened
        from octavo_torch.ops.invariant import invariant_linear

        if spec.weight_dtype != spec.dtype:
            return Unsupported(f"weights of {spec.weight_dtype} with rows of {spec.dtype}")
        refusal = _refusal(spec.dtype)
        if refusal is not None:
            return refusal
        found = kernels.shared_linear() if spec.shared else kernels.packed_linear()
        return invariant_linear(found) if opened(context).batch_invariant else found

    @hookimpl
    def bind_attention(
        self, spec: AttentionSpec, context: DeviceContext
    ) -> StateKernel | Unsupported:
        """Give attention as batched products."""
        from octavo_cpu import kernels
        from octavo_torch.context import opened

        if opened(context).batch_invariant:
            return Unsupported("its products are shaped by the batch")
        if spec.lengths == "device":
            return Unsupported("requests are sorted by their lengths, which the host does not know")
        if spec.softcap is not None:
            return Unsupported("its products know no cap on scores")
        if spec.sinks:
            return Unsupported("its products know no sinks")
        return _refusal(spec.dtype) or kernels.attention(spec, context)

    @hookimpl
    def bind_op(self, spec: OpSpec, context: DeviceContext) -> Kernel | None:
        """Give the choice of tokens and what is cut before it; everything else is the base's."""
        from octavo_torch.context import opened

        if opened(context).batch_invariant or spec.op not in ("sample", "truncate_logits"):
            return None
        from octavo_cpu import cuts, kernels

        return cuts.truncate() if spec.op == "truncate_logits" else kernels.sample(spec)


def _refusal(dtype: DType) -> Unsupported | None:
    from octavo_cpu import kernels

    if not kernels.has_onednn():
        return Unsupported("this torch was built without oneDNN")
    if dtype == "float32" or (dtype == "bfloat16" and kernels.has_bfloat16()):
        return None
    return Unsupported(f"oneDNN has no quick products of {dtype} on this processor")
