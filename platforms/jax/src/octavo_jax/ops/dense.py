"""Rows of features: linear layers, norms and pointwise functions.

Sums are float32 whatever the dtype, and products of float32 are not narrowed on devices that
would by default; each op rounds once, at its end.

Knows nothing of requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import Array, lax

from octavo_jax.arrays import JAX_OF, array_of
from octavo_platforms.ops.dense import limits_of, offset_of
from octavo_platforms.ops.op import float_dtype, integer, real
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


def rms_norm(x: Array, weight: Array, *, eps: float, offset: float = 0.0) -> Array:
    """Divide rows by their root mean square. Shapes: x [..., E]; weight [E] or [H, E].

    Source: arXiv 1910.07467; eps stands under the root.
    """
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
    normed = wide * lax.rsqrt(mean_square + jnp.float32(eps)) * _moved(weight, offset)
    return normed.astype(x.dtype)


def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float,
    offset: float = 0.0,
) -> Array:
    """Take the mean from rows and divide by their deviation. Shapes: as `rms_norm`; bias too.

    Source: arXiv 1607.06450; eps stands under the root.
    """
    wide = x.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normed = centred * lax.rsqrt(variance + jnp.float32(eps))
    if weight is not None:
        normed = normed * _moved(weight, offset)
    if bias is not None:
        normed = normed + bias.astype(jnp.float32)
    return normed.astype(x.dtype)


def _moved(weight: Array, offset: float) -> Array:
    wide = weight.astype(jnp.float32)
    return wide + jnp.float32(offset) if offset else wide


def silu(x: Array) -> Array:
    """Weigh each element by its logistic function. Source: arXiv 1606.08415."""
    wide = x.astype(jnp.float32)
    return (wide * jax.nn.sigmoid(wide)).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """Give each element's logistic function."""
    return jax.nn.sigmoid(x.astype(jnp.float32)).astype(x.dtype)


def gelu(x: Array) -> Array:
    """Weigh each element by the normal distribution. Source: arXiv 1606.08415."""
    wide = x.astype(jnp.float32)
    return (wide * 0.5 * lax.erfc(-wide * jnp.float32(math.sqrt(0.5)))).astype(x.dtype)


def gelu_tanh(x: Array) -> Array:
    """Weigh each element by what looks like the normal distribution. Source: arXiv 1606.08415."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=True).astype(x.dtype)


def _rms_norm(spec: OpSpec) -> Kernel:
    eps, offset = _norm_of(spec)
    return Kernel(name="jax.rms_norm", run=partial(rms_norm, eps=eps, offset=offset))


def _layer_norm(spec: OpSpec) -> Kernel:
    eps, offset = _norm_of(spec)
    return Kernel(name="jax.layer_norm", run=partial(layer_norm, eps=eps, offset=offset))


def _norm_of(spec: OpSpec) -> tuple[float, float]:
    attrs = dict(spec.attrs)
    return real(attrs, "eps"), offset_of(attrs)


def _scale(spec: OpSpec) -> Kernel:
    factor = jnp.float32(real(dict(spec.attrs), "factor"))

    def run(x: Array) -> Array:
        scaled: Array = x.astype(jnp.float32) * factor
        return scaled.astype(x.dtype)

    return Kernel(name="jax.scale", run=run)


def _softcap(spec: OpSpec) -> Kernel:
    cap = jnp.float32(real(dict(spec.attrs), "cap"))

    def run(x: Array) -> Array:
        capped: Array = cap * jnp.tanh(x.astype(jnp.float32) / cap)
        return capped.astype(x.dtype)

    return Kernel(name="jax.softcap", run=run)


def _sharpen(spec: OpSpec) -> Kernel:
    attrs = dict(spec.attrs)
    beta, every = jnp.float32(real(attrs, "beta")), integer(attrs, "every")

    def run(x: Array, positions: Array) -> Array:
        factors = 1 + beta * jnp.log1p((positions // every).astype(jnp.float32))
        sharp: Array = x.astype(jnp.float32) * factors.reshape(-1, *[1] * (x.ndim - 1))
        return sharp.astype(x.dtype)

    return Kernel(name="jax.sharpen", run=run)


def _clamp(spec: OpSpec) -> Kernel:
    low, high = limits_of(dict(spec.attrs))
    return Kernel(name="jax.clamp", run=lambda x: jnp.clip(x, low, high))


def _cast(spec: OpSpec) -> Kernel:
    dtype = JAX_OF[float_dtype(dict(spec.attrs), "to")]
    return Kernel(name="jax.cast", run=lambda x: x.astype(dtype))


MAKERS: Mapping[str, Callable[[OpSpec], Kernel]] = MappingProxyType(
    {
        "rms_norm": _rms_norm,
        "add": lambda spec: Kernel(name="jax.add", run=lax.add),
        "mul": lambda spec: Kernel(name="jax.mul", run=lax.mul),
        "silu": lambda spec: Kernel(name="jax.silu", run=silu),
        "sigmoid": lambda spec: Kernel(name="jax.sigmoid", run=sigmoid),
        "cast": _cast,
        "layer_norm": _layer_norm,
        "gelu": lambda spec: Kernel(name="jax.gelu", run=gelu),
        "gelu_tanh": lambda spec: Kernel(name="jax.gelu_tanh", run=gelu_tanh),
        "relu": lambda spec: Kernel(name="jax.relu", run=jax.nn.relu),
        "scale": _scale,
        "softcap": _softcap,
        "clamp": _clamp,
        "sharpen": _sharpen,
    }
)
