"""Convolutions as matrix products of patches, for CPUs.

A patch row holds the taps along the last spatial axis; the taps along the others are separate
products that are summed. A few images are taken at a time, so that patches stay in the cache.
"""

import itertools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.ops.chunks import map_in_chunks

# Of the patches that are made at a time: about what the second-level cache of a core holds.
CHUNK_BYTES = 2**20
# Rows of fewer values than this make poor matrix products: all taps go into one patch instead.
SHORT_ROW = 32


def conv(x: jax.Array, w: jax.Array, geometry) -> jax.Array:
    """``[N, *spatial, C_in]`` and ``[*kernel, C_in, C_out]`` to ``[N, *spatial', C_out]``."""

    def products(x):
        pairs = zip(_patches(x, geometry), _parts(w, geometry), strict=True)
        return sum(rows @ part for rows, part in pairs)

    return map_in_chunks(products, (x,), _chunk(x, geometry, CHUNK_BYTES))


def filter_gradient(x: jax.Array, g: jax.Array, geometry) -> jax.Array:
    """The gradient by the filter, ``[*kernel, C_in, C_out]``, for the cotangent g."""
    pixels = list(range(g.ndim - 1))

    def products(x, g):
        # XLA transposes the first operand: g is smaller than the patches, and the same for all.
        return [lax.dot_general(g, p, ((pixels, pixels), ((), ()))) for p in _patches(x, geometry)]

    # More than fits in that cache, on purpose: these products are long sums, and gain by it.
    sums = map_in_chunks(products, (x, g), _chunk(x, geometry, 2 * CHUNK_BYTES), add=True)
    sums = jnp.stack(sums).swapaxes(-1, -2)
    return sums.reshape(*geometry.kernel, x.shape[-1], g.shape[-1])


def input_gradient(g: jax.Array, w: jax.Array, geometry) -> jax.Array:
    """The gradient by the input, ``[N, *spatial, C_in]``, for the cotangent g.

    With q the input pixel plus padding, ``dx[q] = sum_m g[a - m] w[b + s m]`` for ``q = s a + b``:
    each of the phases b is an ordinary convolution of g with every s-th tap of the filter.
    With dilation, or negative padding, g is read with zeros between its pixels instead.
    """
    w = jnp.swapaxes(w, -1, -2)
    rank = len(geometry.kernel)
    crops = min(low for low, _ in geometry.padding) < 0
    if max(geometry.strides) > 1 and (max(geometry.dilation) > 1 or crops):
        interior = [(0, 0, 0), *((0, 0, s - 1) for s in geometry.strides), (0, 0, 0)]
        g = lax.pad(g, jnp.zeros((), g.dtype), interior)
        geometry = geometry._replace(strides=(1,) * rank)
    strides = geometry.strides
    sizes = [-(-(n + low) // s) for n, (low, _), s in _zip(geometry, "spatial padding strides")]
    # Unit strides need no cutting afterwards: their convolution gives the wanted pixels alone.
    lows = [low if s == 1 else 0 for (_, (low, _), s) in _zip(geometry, "spatial padding strides")]
    phases = []
    for phase in itertools.product(*map(range, strides)):
        part = w[tuple(slice(b, None, s) for b, s in zip(phase, strides, strict=True))]
        kernel = part.shape[:rank]
        if 0 in kernel:
            shape = [a - low for a, low in zip(sizes, lows, strict=True)]
            phases.append(jnp.zeros((g.shape[0], *shape, w.shape[-1]), g.dtype))
            continue
        reach = [(k - 1) * d for k, d in zip(kernel, geometry.dilation, strict=True)]
        padding = tuple(
            (r - low, a - o) for r, low, a, o in zip(reach, lows, sizes, g.shape[1:-1], strict=True)
        )
        part = jnp.flip(part, range(rank))
        phase_geometry = geometry._replace(
            strides=(1,) * rank, padding=padding, spatial=g.shape[1:-1], kernel=kernel
        )
        phases.append(conv(g, part, phase_geometry))
    if len(phases) == 1:
        return phases[0]
    x = jnp.stack(phases).reshape(*strides, *phases[0].shape)
    # [*phase, N, *a, C] -> [N, (a, phase)..., C]
    order = [rank, *(i for axis in range(rank) for i in (rank + 1 + axis, axis)), 2 * rank + 1]
    x = x.transpose(order)
    x = x.reshape(
        g.shape[0],
        *(s * (a - low) for s, a, low in zip(strides, sizes, lows, strict=True)),
        w.shape[-1],
    )
    starts = [
        0 if s == 1 else low for (_, (low, _), s) in _zip(geometry, "spatial padding strides")
    ]
    limits = [start + n for start, n in zip(starts, geometry.spatial, strict=True)]
    return lax.slice(x, (0, *starts, 0), (x.shape[0], *limits, x.shape[-1]))


def _zip(geometry, names: str):
    return zip(*(getattr(geometry, name) for name in names.split()), strict=True)


def _patches(x: jax.Array, geometry) -> Iterator[jax.Array]:
    """``[N, *output, values]`` for each part of the filter, as `_parts` gives them."""
    x = lax.pad(
        x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in geometry.padding), (0, 0, 0)]
    )
    output = geometry.output

    def tap(a, axis, t):
        start, stride = t * geometry.dilation[axis], geometry.strides[axis]
        limit = start + (output[axis] - 1) * stride + 1
        return lax.slice_in_dim(a, start, limit, stride, axis + 1)

    last = len(geometry.kernel) - 1
    rows = jnp.concatenate([tap(x, last, t) for t in range(geometry.kernel[last])], -1)
    parts = []
    for taps in itertools.product(*map(range, geometry.kernel[:-1])):
        part = rows
        for axis, t in enumerate(taps):
            part = tap(part, axis, t)
        parts.append(part)
    if is_short(geometry, x.shape[-1]):
        parts = [jnp.concatenate(parts, -1)]
    yield from parts


def _parts(w: jax.Array, geometry) -> jax.Array:
    """The filter as the matrices ``[parts, values, C_out]`` that go with `_patches`."""
    row = math.prod(geometry.kernel) if is_short(geometry, w.shape[-2]) else geometry.kernel[-1]
    return w.reshape(-1, row * w.shape[-2], w.shape[-1])


def is_short(geometry, c_in: int) -> bool:
    """Return whether all taps of a filter go into one patch."""
    return geometry.kernel[-1] * c_in < SHORT_ROW


def _chunk(x: jax.Array, geometry, size: int) -> int | None:
    """How many images have patches of ``size`` bytes; None, for all, if the images are patches."""
    if math.prod(geometry.kernel) == 1:
        return None
    short = is_short(geometry, x.shape[-1])
    lead = geometry.output[:-1] if short else geometry.spatial[:-1]
    taps = math.prod(geometry.kernel) if short else geometry.kernel[-1]
    values = math.prod(lead) * geometry.output[-1] * taps * x.shape[-1]
    return size // (values * x.dtype.itemsize)
