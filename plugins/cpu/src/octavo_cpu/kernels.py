"""The CPU's own kernels: oneDNN products on packed weights, attention as batched products.

A plain weight is packed anew at each call, so packing it once halves a decoding step. The
fused attention of torch calls a small product for each request and head; two batched
products do the same work with two calls.

Knows nothing of which specs it is asked for (`overrides`).
Source: measured on Zen 4 with two threads, torch 2.13, in the shapes of a 135M-parameter model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from octavo_platforms.platform import DeviceContext, DeviceTensor, Kernel, StateKernel
from octavo_platforms.specs import AttentionSpec, OpSpec
from octavo_platforms.tensor import HostTensor
from octavo_torch.context import opened
from octavo_torch.memory import borrowed, tensor_of
from octavo_torch.ops import choice
from octavo_torch.ops.attention import attention as paged_attention
from octavo_torch.ops.decode import sdpa_decode
from octavo_torch.states import HEADS_FIRST

FEW_HEADS = 8

# torch's own compiler calls these two for a frozen linear layer; torch has no public name for them.
_pack = torch.ops.mkldnn._reorder_linear_weight  # noqa: SLF001
_product = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001


def has_onednn() -> bool:
    """Tell whether torch can pack weights."""
    return bool(torch.backends.mkldnn.enabled) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def has_bfloat16() -> bool:
    """Tell whether products of bfloat16 are quick here."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Make x @ weight.T + bias, of a weight that is packed or plain. Shapes: [T, I], [O, I]."""
    if not x.shape[0]:
        return x.new_empty((0, weight.shape[0]))
    made: Tensor = _product(x, weight, bias, "none", [], "")
    return made


def packed_linear() -> Kernel:
    """Make a product on a weight packed once."""
    return Kernel(name="cpu.packed_linear", run=linear, pack=_packed, pack_host=_packed_from_host)


def _packed(weight: DeviceTensor) -> DeviceTensor:
    with torch.inference_mode():
        return DeviceTensor(_pack(tensor_of(weight)))


def _packed_from_host(weight: HostTensor) -> DeviceTensor:
    """Pack a host's array as it lies, which is read once and copied nowhere else."""
    return _packed(DeviceTensor(borrowed(weight)))


def shared_linear() -> Kernel:
    """Make a product on a weight that stays as it is; in float32 half the time of torch's own."""
    return Kernel(name="cpu.linear", run=linear)


def attention(spec: AttentionSpec, context: DeviceContext) -> StateKernel:
    """Attend to gathered blocks with two batched products."""
    return paged_attention(
        spec,
        opened(context).device,
        name="cpu.attention",
        layouts=(HEADS_FIRST,),
        decode=batched_decode,
        mask_dtype=torch.float32,
    )


def batched_decode(
    q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """Attend one token of each request to its gathered context.

    Shapes: q [R, K, G, D]; keys and values [R, K, S, D]; mask [R, K or 1, G or 1, S]; returns as q.
    Dtypes: as q; products are rounded to it, the softmax between them is float32, and so are masks.
    """
    num_requests, num_heads, groups, width = q.shape
    batch = num_requests * num_heads
    if batch <= FEW_HEADS:
        return sdpa_decode(q, keys, values, mask, scale)
    rows = q.transpose(0, 1).reshape(batch, groups, width)
    keys, values = (each.transpose(0, 1).reshape(batch, -1, width) for each in (keys, values))
    scores = torch.bmm(rows, keys.transpose(1, 2)).view(num_heads, num_requests, groups, -1)
    if mask is None:
        wide = scores.float().mul_(scale)
    else:
        wide = torch.add(mask.transpose(0, 1), scores, alpha=scale)
    weights = torch.softmax(wide, -1).to(q.dtype).view(batch, groups, -1)
    found = torch.bmm(weights, values)
    return found.view(num_heads, num_requests, groups, width).transpose(0, 1)


def sample(spec: OpSpec) -> Kernel:
    """Choose tokens, the largest found by numpy, which here is several times quicker."""
    return choice.sample(spec, name="cpu.sample", largest=largest)


def largest(scores: Tensor) -> Tensor:
    """Give the lowest id among the largest scores, -1 where the largest is not a finite number.

    Shapes: float32 [S, V]; returns int32 [S].
    """
    ids = torch.from_numpy(scores.numpy().argmax(-1))
    is_finite = scores.gather(1, ids[:, None])[:, 0].isfinite()
    return ids.int().masked_fill_(~is_finite, -1)
