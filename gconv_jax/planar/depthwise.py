"""Depthwise convolution: each channel with a filter of its own.

GPU and TPU get XLA's grouped convolution. On a CPU that is ten to forty times slower than a sum of
shifted images, which XLA fuses to one loop (benchmarks/separable.py), and oneDNN, where it is
installed, is ten times faster again. Derivatives of any order run the same code
(`gconv_jax.planar.primitive`).
"""

import functools
import itertools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.chunks import map_in_chunks
from gconv_jax.planar.conv import planar_conv
from gconv_jax.planar.depthwise_onednn import depthwise_onednn
from gconv_jax.planar.geometry import Geometry, spread
from gconv_jax.planar.implementation import PlanarConv, make_static
from gconv_jax.planar.primitive import Convolution, Form, Shape, by_transposes, make_primitive

# The size of the images whose products with the gradient are summed at a time, in the cache.
CHUNK_BYTES = 2**19


def depthwise_conv(
    x: jax.Array,
    w: jax.Array,
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Return ``y[n, p, c] = sum_t x[n, s p + d t - low, c] w[t, c]``, zero outside the image.

    Args:
        x: ``[N, *spatial, C]``.
        w: ``[*kernel, 1, C]`` of the same dtype.
        strides, padding, dilation, precision: as in `gconv_jax.planar.conv.planar_conv`.

    Returns:
        ``[N, *spatial', C]``.
    """
    static = make_static(
        x.shape[1:-1],
        w.shape[:-2],
        strides=strides,
        padding=padding,
        dilation=dilation,
        precision=precision,
    )
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return grouped_conv(x, w, static)
    return depthwise_form(Form.OUTPUT, x, w, static)


def _shape(form: Form, lhs: Shape, rhs: Shape, static: PlanarConv) -> Shape:
    geometry = static.geometry
    if form is Form.FILTER_GRADIENT:
        return *geometry.kernel, 1, lhs[-1]
    spatial = geometry.output if form is Form.OUTPUT else geometry.spatial
    return lhs[0], *spatial, lhs[-1]


def grouped_conv(x: jax.Array, w: jax.Array, static: PlanarConv) -> jax.Array:
    geometry = static.geometry
    return planar_conv(
        x,
        w,
        strides=geometry.strides,
        padding=geometry.padding,
        dilation=geometry.dilation,
        feature_group_count=x.shape[-1],
        precision=static.precision,
    )


def _default(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    shape = _shape(form, lhs.shape, rhs.shape, static)
    return by_transposes(lambda x, w: grouped_conv(x, w, static), form, lhs, rhs, shape)


def _cpu(form: Form, lhs: jax.Array, rhs: jax.Array, static: PlanarConv) -> jax.Array:
    shape = _shape(form, lhs.shape, rhs.shape, static)
    if 0 in lhs.shape or 0 in rhs.shape or 0 in shape:
        return jnp.zeros(shape, lhs.dtype)
    dtype = lhs.dtype
    # Short types are summed in float32, as other devices do.
    long = accumulation_dtype(dtype)
    lhs, rhs = lhs.astype(long), rhs.astype(long)
    found = depthwise_onednn(form, lhs, rhs, shape, static)
    if found is not None:
        return found.astype(dtype)
    compute = {
        Form.OUTPUT: _output,
        Form.INPUT_GRADIENT: _input_gradient,
        Form.FILTER_GRADIENT: _filter_gradient,
    }[form]
    return compute(lhs, rhs, static.geometry).astype(dtype)


def _shifted(x: jax.Array, geometry: Geometry) -> list[jax.Array]:
    """Return ``x[n, s p + d t]`` for each tap t."""
    shifted = []
    for tap in itertools.product(*map(range, geometry.kernel)):
        start = [t * d for t, d in zip(tap, geometry.dilation, strict=True)]
        end = [
            a + (m - 1) * s + 1
            for a, m, s in zip(start, geometry.output, geometry.strides, strict=True)
        ]
        slice_ = (0, *start, 0), (x.shape[0], *end, x.shape[-1]), (1, *geometry.strides, 1)
        shifted.append(lax.slice(x, *slice_))
    return shifted


def _pad(x: jax.Array, geometry: Geometry) -> jax.Array:
    padding = [(low, high, 0) for low, high in geometry.padding]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])


def _output(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    x = _pad(x, geometry)
    w = w.reshape(-1, w.shape[-1])
    parts = (part * w[t] for t, part in enumerate(_shifted(x, geometry)))
    return functools.reduce(operator.add, parts)


def _input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    return _output(spread(g, geometry), jnp.flip(w, tuple(range(w.ndim - 2))), geometry.adjoint)


def _filter_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    x = _pad(x, geometry)
    axes = tuple(range(g.ndim - 1))

    def of_images(x: jax.Array, g: jax.Array) -> list[jax.Array]:
        return [jnp.stack([(part * g).sum(axes) for part in _shifted(x, geometry)])]

    chunk = max(1, CHUNK_BYTES // (x[0].size * x.dtype.itemsize))
    (taps,) = map_in_chunks(of_images, (x, g), chunk, add=True)
    return taps.reshape(*geometry.kernel, 1, -1)


depthwise_form = make_primitive(
    Convolution("gconv_jax_depthwise_conv", _shape, default=_default, cpu=_cpu, channels_last=False)
)
