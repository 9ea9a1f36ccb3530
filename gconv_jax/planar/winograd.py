"""Convolutions with three taps on each axis in few multiplications, for volumes on CPUs.

The method is that of Lavin & Gray 2015 (arXiv:1509.09308).

On one axis, two neighbors of the result need four pixels d of the image and the three taps g:

    (d0 g0 + d1 g1 + d2 g2, d1 g0 + d2 g1 + d3 g2) = A [(G g) (B d)],
    B d = (d0 - d2, d1 + d2, d2 - d1, d1 - d3),
    G g = (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2),
    A m = (m0 + m1 + m2, m1 - m2 - m3),

which has 4 products in place of 6. On three axes 64 products, each a matrix product over the
channels, take the place of 216. The gradients have the same products between transposed A, B and G.
Rounding errors are a few times those of the sums of products, and the matrices hold no number but
0, 1 and 1/2. A pixel that is not finite spoils the results of its whole block of 4x4x4 pixels.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.ops.chunks import map_in_chunks
from gconv_jax.planar.geometry import Geometry

# The size of the transformed images that a CPU takes at a time: products are large, and what is
# between them stays near the cores.
CHUNK_BYTES = 2**23
# Blocks take eight times the memory of an image: larger ones go to patches.
MOST_BYTES = 2**28
# Fewer channels leave less to multiply than to transform.
FEWEST_CHANNELS = 32
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def is_possible(geometry: Geometry) -> bool:
    """Return whether a convolution has three taps on each axis, without strides or dilation."""
    sizes = (*geometry.spatial, *geometry.output)
    return (
        set(geometry.kernel) == {3}
        and set(geometry.strides) == set(geometry.dilation) == {1}
        and all(isinstance(n, int) for n in sizes)  # else under jax.export
    )


def is_faster(geometry: Geometry, c_in: int, c_out: int, itemsize: int) -> bool:
    """Return whether it is faster than patches, for a convolution where it is possible."""
    return (
        len(geometry.kernel) == 3
        and min(c_in, c_out) >= FEWEST_CHANNELS
        and _bytes(geometry, max(c_in, c_out), itemsize) <= MOST_BYTES
    )


def conv(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the convolution of ``[N, *spatial, C_in]`` with ``[3, ..., C_in, C_out]``."""
    on_axes, channels = _on_axes(_G, geometry, w.dtype), w.shape[-2:]
    w = jnp.dot(on_axes, w.reshape(on_axes.shape[1], -1), precision="highest")
    w = lax.optimization_barrier(w.reshape(-1, *channels))

    def compute(x):
        products = lax.optimization_barrier(jnp.matmul(_blocks(x, geometry), w))
        shape = (*products.shape[:1], x.shape[0], *_blocks_on(geometry), products.shape[-1])
        return _results(products.reshape(shape), geometry)

    return map_in_chunks(compute, (x,), _chunk(x, geometry))


def filter_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the filter gradient ``[3, ..., C_in, C_out]`` for the cotangent g."""

    def products(x, g):
        pixels = (((1,), (1,)), ((0,), (0,)))
        return lax.dot_general(_blocks(x, geometry), _cotangents(g, geometry), pixels)

    sums = map_in_chunks(products, (x, g), _chunk(x, geometry), add=True)
    sums = sums.reshape(len(sums), -1)
    w = jnp.dot(_on_axes(_G, geometry, sums.dtype).T, sums, precision="highest")
    return w.reshape(*geometry.kernel, x.shape[-1], g.shape[-1])


def _on_axes(matrix: np.ndarray, geometry: Geometry, dtype) -> jax.Array:
    """Return the matrix that acts on each axis by the given one."""
    return jnp.asarray(functools.reduce(np.kron, [matrix] * len(geometry.kernel)), dtype)


def _blocks_on(geometry: Geometry) -> tuple[int, ...]:
    """Return how many pairs of results there are on each axis."""
    return tuple(-(-n // 2) for n in geometry.output)


def _blocks(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return B on all axes of blocks of 4 pixels, which overlap by 2: ``[4^axes, blocks, C]``."""
    pads = [
        (low, 2 * blocks + 2 - n - low, 0)
        for n, (low, _), blocks in zip(
            geometry.spatial, geometry.padding, _blocks_on(geometry), strict=True
        )
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    x = lax.optimization_barrier(x)[None]
    for axis in range(2, x.ndim - 1):
        even, odd = _halves(x, axis)
        last = even.shape[axis] - 1
        d0, d2 = (lax.slice_in_dim(even, i, i + last, axis=axis) for i in (0, 1))
        d1, d3 = (lax.slice_in_dim(odd, i, i + last, axis=axis) for i in (0, 1))
        x = _stack([d0 - d2, d1 + d2, d2 - d1, d1 - d3])
    return x.reshape(len(x), -1, x.shape[-1])


def _cotangents(g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the transpose of A on all axes of pairs of results: ``[4^axes, blocks, C]``."""
    pads = [
        (0, 2 * blocks - n, 0)
        for n, blocks in zip(geometry.output, _blocks_on(geometry), strict=True)
    ]
    g = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    g = lax.optimization_barrier(g)[None]
    for axis in range(2, g.ndim - 1):
        y0, y1 = _halves(g, axis)
        g = _stack([y0, y0 + y1, y0 - y1, -y1])
    return g.reshape(len(g), -1, g.shape[-1])


def _results(m: jax.Array, geometry: Geometry) -> jax.Array:
    """Return A on all axes of ``[4^axes, N, *blocks, C]``: ``[N, *output, C]``."""
    for axis in reversed(range(len(geometry.kernel))):
        m = m.reshape(-1, 4, *m.shape[1:])
        m0, m1, m2, m3 = (lax.index_in_dim(m, i, 1, keepdims=False) for i in range(4))
        y = jnp.stack([m0 + m1 + m2, m1 - m2 - m3], axis + 3)
        y = y.reshape(*y.shape[: axis + 2], -1, *y.shape[axis + 4 :])
        m = lax.optimization_barrier(y)
    limits = (m.shape[1], *geometry.output, m.shape[-1])
    return lax.slice(m[0], (0,) * len(limits), limits)


def _halves(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Return the even and the odd pixels of an axis."""
    x = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
    return tuple(lax.index_in_dim(x, i, axis + 1, keepdims=False) for i in (0, 1))  # pyright: ignore[reportReturnType]


def _stack(parts: list[jax.Array]) -> jax.Array:
    """Return parts ``[n, ...]`` as ``[4 n, ...]``, in the order of `_on_axes`."""
    x = jnp.stack(parts, 1)
    return lax.optimization_barrier(x.reshape(-1, *x.shape[2:]))


def _bytes(geometry: Geometry, channels: int, itemsize: int) -> int:
    """Return the size of an image that is transformed."""
    blocks = math.prod(_blocks_on(geometry))
    return 4 ** len(geometry.kernel) * blocks * channels * itemsize


def _chunk(x: jax.Array, geometry: Geometry) -> int:
    return CHUNK_BYTES // _bytes(geometry, x.shape[-1], x.dtype.itemsize)
