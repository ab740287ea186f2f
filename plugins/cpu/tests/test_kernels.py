"""The CPU's own kernels against the base's, which the base's tests hold to the oracle."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from octavo_cpu import kernels, platform
from octavo_cpu.overrides import CpuKernels
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import DeviceContext, DeviceTensor, Kernel, StateKernel, Unsupported
from octavo_platforms.program import Plane, StateSpec
from octavo_platforms.specs import AttentionSpec, LinearSpec
from octavo_platforms.tensor import DType, HostTensor
from octavo_torch.memory import tensor_of, to_host
from octavo_torch.ops import choice
from octavo_torch.ops.decode import sdpa_decode

needs_onednn = pytest.mark.skipif(not kernels.has_onednn(), reason="this torch has no oneDNN")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def opened(*, batch_invariant: bool = False) -> DeviceContext:
    return Platform(platform).open_device((0,), DeviceSettings(batch_invariant=batch_invariant))


def linear(dtype: DType, *, shared: bool, weight_dtype: DType | None = None) -> LinearSpec:
    return LinearSpec(
        n_in=48,
        n_out=32,
        dtype=dtype,
        weight_dtype=weight_dtype or dtype,
        bias=True,
        shared=shared,
    )


@needs_onednn
@pytest.mark.parametrize("rows", [0, 1, 3, 40])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_packed_product_is_the_plain_product(rows: int, has_bias: bool) -> None:
    kernel = kernels.packed_linear()
    assert kernel.pack is not None
    weight, bias = random(32, 48), random(32) if has_bias else None
    x = random(rows, 48, seed=1)
    packed = kernel.pack(DeviceTensor(weight.clone()))
    given = (x, packed) if bias is None else (x, packed, bias)
    torch.testing.assert_close(tensor_of(kernel.run(*given)), F.linear(x, weight, bias))


@needs_onednn
@pytest.mark.parametrize("turned", [False, True])
def test_a_weight_packed_from_the_host_is_the_one_packed_from_memory(turned: bool) -> None:
    kernel = kernels.packed_linear()
    assert kernel.pack is not None
    assert kernel.pack_host is not None
    weight, x = random(48, 48).bfloat16(), random(5, 48, seed=1).bfloat16()
    lent = to_host(weight)
    weight, array = (weight.T, lent.array.T) if turned else (weight, lent.array)
    placed = kernel.pack(DeviceTensor(weight.contiguous()))
    packed = kernel.pack_host(HostTensor(array, "bfloat16"))
    lent.array[...] = 0
    assert torch.equal(tensor_of(kernel.run(x, packed)), tensor_of(kernel.run(x, placed)))


@needs_onednn
def test_rows_that_are_a_view_are_multiplied_as_they_look() -> None:
    kernel = kernels.packed_linear()
    assert kernel.pack is not None
    weight, wide = random(32, 48), random(5, 96, seed=1)
    packed = kernel.pack(DeviceTensor(weight.clone()))
    found = tensor_of(kernel.run(wide[:, 48:], packed))
    torch.testing.assert_close(found, F.linear(wide[:, 48:], weight))


@needs_onednn
def test_a_shared_weight_is_not_packed() -> None:
    found = CpuKernels().bind_linear(linear("float32", shared=True), opened())
    assert isinstance(found, Kernel)
    assert found.pack is None


@needs_onednn
def test_a_device_opened_batch_invariant_has_no_product_that_is_shaped_by_its_batch() -> None:
    found = CpuKernels().bind_linear(linear("float32", shared=False), opened(batch_invariant=True))
    assert isinstance(found, Kernel)
    assert "batch invariant" in found.name


def test_a_device_opened_batch_invariant_refuses_sinks_by_name() -> None:
    planes = tuple(Plane(name, (2, 16), "float32") for name in "kv")
    spec = AttentionSpec(
        num_heads=2,
        num_kv_heads=2,
        head_width=16,
        scale=0.25,
        dtype="float32",
        state=StateSpec("kv", "paged", planes, 1, 4),
        sinks=True,
    )
    found = platform.bind_attention(spec, opened(batch_invariant=True))
    assert isinstance(found, Unsupported)
    assert "no sinks" in found.reason
    assert isinstance(platform.bind_attention(spec, opened()), StateKernel)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (linear("float16", shared=False), "float16"),
        (linear("bfloat16", shared=False, weight_dtype="float32"), "float32"),
    ],
)
def test_what_is_not_quick_is_left_to_the_base_with_the_reason(
    spec: LinearSpec, reason: str
) -> None:
    found = CpuKernels().bind_linear(spec, opened())
    assert isinstance(found, Unsupported)
    assert reason in found.reason


@pytest.mark.parametrize("num_requests", [1, 9])
@pytest.mark.parametrize("is_masked", [False, True])
def test_batched_products_attend_as_fused_attention_does(
    num_requests: int, is_masked: bool
) -> None:
    q = random(num_requests, 2, 3, 16)
    keys, values = (random(2, num_requests, 24, 16, seed=seed).transpose(0, 1) for seed in (1, 2))
    mask = None
    if is_masked:
        mask = torch.zeros(num_requests, 1, 1, 24)
        mask[0, ..., 5:] = float("-inf")
    found = kernels.batched_decode(q, keys, values, mask, 0.25)
    torch.testing.assert_close(found, sdpa_decode(q, keys, values, mask, 0.25))


@pytest.mark.parametrize("num_requests", [1, 9])
def test_what_slopes_take_is_not_rounded_as_rows_are(num_requests: int) -> None:
    away = 8 * torch.arange(-23.0, 1.0)
    q, keys = (torch.zeros(num_requests, 2, rows, 16).bfloat16() for rows in (3, 24))
    q[..., 0], keys[..., 0] = 1, -away  # products that make up for the first head's slope
    values = random(num_requests, 2, 24, 16, seed=2).bfloat16()
    mask = (0.7 ** torch.arange(1, 7)).view(1, 2, 3, 1) * away
    mask = mask.repeat(num_requests, 1, 1, 1)
    found = kernels.batched_decode(q, keys, values, mask, 0.7)
    exact = (mask.double() - 0.7 * away.double()).softmax(-1) @ values.double()
    torch.testing.assert_close(found.double(), exact, rtol=2**-6, atol=2**-6)


def test_the_quick_choice_is_the_bases() -> None:
    scores = random(6, 1000).round()
    assert torch.equal(kernels.largest(scores), choice.largest(scores))
    assert kernels.largest(scores).dtype == torch.int32


def test_the_platform_opens_as_any_other() -> None:
    opened = Platform(platform).open_device((0,), DeviceSettings())
    assert [device.index for device in opened.devices] == [0]
    opened.close()
