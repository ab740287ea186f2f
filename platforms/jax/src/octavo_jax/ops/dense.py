"""Rows of features: linear layers, norms and pointwise functions.

Sums are float32 whatever the dtype, and products of float32 are not narrowed on devices that
would by default; each op rounds once, at its end.

Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.arrays import JAX_OF, array_of
from octavo_platforms.ops.op import float_dtype, real
from octavo_platforms.platform import DeviceTensor, Kernel
from octavo_platforms.specs import OpSpec


def linear(x: Array, weight: Array, bias: Array | None = None, *, axis: int = 1) -> Array:
    """Multiply rows by a weight, whose `axis` is that of its inputs.

    Shapes: x [T, I]; weight [O, I], or packed [I, O]; bias [O]; returns [T, O].
    """
    product = lax.dot_general(
        x,
        weight,
        (((x.ndim - 1,), (axis,)), ((), ())),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    if bias is not None:
        product = product + bias.astype(jnp.float32)
    return product.astype(x.dtype)


def packed(weight: object) -> DeviceTensor:
    """Turn a weight to [I, O], which the CPU runtime multiplies by up to twice as fast."""
    return DeviceTensor(array_of(weight).T.block_until_ready())


def rms_norm(x: Array, weight: Array, *, eps: float) -> Array:
    """Divide rows by their root mean square. Shapes: x [..., E]; weight [E].

    Source: arXiv 1910.07467; eps stands under the root.
    """
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
    normed = wide * lax.rsqrt(mean_square + jnp.float32(eps)) * weight.astype(jnp.float32)
    return normed.astype(x.dtype)


def silu(x: Array) -> Array:
    """Weigh each element by its logistic function. Source: arXiv 1606.08415."""
    wide = x.astype(jnp.float32)
    return (wide * jax.nn.sigmoid(wide)).astype(x.dtype)


def _rms_norm(spec: OpSpec) -> Kernel:
    eps = real(dict(spec.attrs), "eps")
    return Kernel(name="jax.rms_norm", run=lambda x, weight: rms_norm(x, weight, eps=eps))


def _cast(spec: OpSpec) -> Kernel:
    dtype = JAX_OF[float_dtype(dict(spec.attrs), "to")]
    return Kernel(name="jax.cast", run=lambda x: x.astype(dtype))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "rms_norm": _rms_norm,
        "add": lambda spec: Kernel(name="jax.add", run=lax.add),
        "mul": lambda spec: Kernel(name="jax.mul", run=lax.mul),
        "silu": lambda spec: Kernel(name="jax.silu", run=silu),
        "cast": _cast,
    }
)
