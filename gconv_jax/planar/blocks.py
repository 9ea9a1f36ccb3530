"""Strided convolutions as convolutions of blocks of pixels, without strides.

Where each side of a filter is a multiple of the stride s, a block of s x s pixels may be taken for
one pixel with s^2 times the channels (space to depth). The filter has as many fewer taps, its
products are the same ones, and no pixel is read at a distance. The input gradient, which is a
transposed convolution, is one convolution in place of one for each place within a block.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.planar.geometry import Geometry


def is_possible(geometry: Geometry) -> bool:
    """Return whether a convolution has strides, and is one of blocks."""
    return (
        max(geometry.strides) > 1
        and max(geometry.dilation) == 1
        and all(k % s == 0 for k, s in zip(geometry.kernel, geometry.strides, strict=True))
        and all(isinstance(n, int) for n in geometry.spatial)  # else under jax.export
    )


def of_blocks(geometry: Geometry) -> Geometry:
    """Return the geometry of the convolution of blocks, which has neither strides nor padding."""
    ones = (1,) * len(geometry.kernel)
    kernel = tuple(k // s for k, s in zip(geometry.kernel, geometry.strides, strict=True))
    spatial = tuple(n + k - 1 for n, k in zip(geometry.output, kernel, strict=True))
    return Geometry(ones, ((0, 0),) * len(ones), ones, spatial, kernel)


def to_blocks(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the padded input ``[N, *spatial, C]`` as blocks ``[N, *blocks, s^d C]``."""
    x = lax.pad(x, jnp.zeros((), x.dtype), _margins(geometry, 1))
    return _merged(x, of_blocks(geometry).spatial, geometry.strides, 1)


def from_blocks(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the input of blocks, the inverse of `to_blocks`; pixels in no block are 0."""
    x = _parted(x, of_blocks(geometry).spatial, geometry.strides, 1)
    return lax.pad(x, jnp.zeros((), x.dtype), _margins(geometry, -1))


def filter_to_blocks(w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return a filter ``[*kernel, C_in, C_out]`` as that of blocks."""
    return _merged(w, of_blocks(geometry).kernel, geometry.strides, 0)


def filter_from_blocks(w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the filter of that of blocks, the inverse of `filter_to_blocks`."""
    return _parted(w, of_blocks(geometry).kernel, geometry.strides, 0)


def _margins(geometry: Geometry, sign: int) -> list[tuple[int, int, int]]:
    """Return what is to be added to the input, or cut off, so that it consists of blocks."""
    sides = zip(
        of_blocks(geometry).spatial,
        geometry.strides,
        geometry.spatial,
        geometry.padding,
        strict=True,
    )
    pads = [(sign * low, sign * (m * s - n - low), 0) for m, s, n, (low, _) in sides]
    return [(0, 0, 0), *pads, (0, 0, 0)]


def _merged(x: jax.Array, counts: Sequence[int], strides: Sequence[int], first: int) -> jax.Array:
    """Return ``[..., *(counts strides), C, ...]`` as ``[..., *counts, prod(strides) C, ...]``, with
    spatial axes from the ``first`` on."""
    lead, rank = x.shape[:first], len(counts)
    channels, *rest = x.shape[first + rank :]
    pairs = [size for pair in zip(counts, strides, strict=True) for size in pair]
    x = x.reshape(*lead, *pairs, channels, *rest)
    places = range(first, first + 2 * rank)
    order = [*range(first), *places[::2], *places[1::2], *range(first + 2 * rank, x.ndim)]
    return x.transpose(order).reshape(*lead, *counts, math.prod(strides) * channels, *rest)


def _parted(x: jax.Array, counts: Sequence[int], strides: Sequence[int], first: int) -> jax.Array:
    """Return the inverse of `_merged`."""
    lead, rank = x.shape[:first], len(counts)
    channels, *rest = x.shape[first + rank :]
    channels //= math.prod(strides)
    x = x.reshape(*lead, *counts, *strides, channels, *rest)
    pairs = [first + i + rank * half for i in range(rank) for half in (0, 1)]
    x = x.transpose([*range(first), *pairs, *range(first + 2 * rank, x.ndim)])
    sizes = [n * s for n, s in zip(counts, strides, strict=True)]
    return x.reshape(*lead, *sizes, channels, *rest)
