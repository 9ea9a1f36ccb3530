"""Depthwise convolution by oneDNN, for CPUs where that is installed."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax._native import door
from gconv_jax.planar.geometry import Geometry
from gconv_jax.planar.implementation import PlanarConv
from gconv_jax.planar.primitive import Form, Shape

# The widest filters whose gradient has a depthwise kernel in oneDNN; for wider ones it takes that
# of grouped convolutions, which was ten times as slow for 7x7 filters.
WIDEST = 3
_KINDS = {
    Form.OUTPUT: "conv",
    Form.INPUT_GRADIENT: "input_gradient",
    Form.FILTER_GRADIENT: "filter_gradient",
}


def depthwise_onednn(
    form: Form, lhs: jax.Array, rhs: jax.Array, shape: Shape, static: PlanarConv
) -> jax.Array | None:
    """Return a form of a depthwise convolution, or None if oneDNN has no kernel for it here."""
    if static.implementation not in ("auto", "onednn") or not door.available("onednn"):
        return None
    geometry, dtypes = static.geometry, {lhs.dtype, rhs.dtype}
    sizes = (*lhs.shape, *rhs.shape, *shape)
    if geometry.crops or dtypes != {jnp.dtype(jnp.float32)} or lhs.shape[-1] == 1:
        return None
    if not all(isinstance(n, int) for n in sizes):  # under jax.export
        return None
    if form is Form.FILTER_GRADIENT:
        return _filter_gradient(lhs, rhs, geometry)
    if not door.has_kernel(_KINDS[form], lhs.shape, rhs.shape, shape, **_window(geometry)):
        return None
    if form is Form.OUTPUT:
        return door.conv(lhs, rhs, **_window(geometry))
    return door.input_gradient(
        lhs, rhs, spatial=geometry.spatial, groups=lhs.shape[-1], **_window(geometry)
    )


def _filter_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array | None:
    """Return the filter gradient ``[*kernel, 1, C]``, a few columns of the filter at a time."""
    width, parts = geometry.kernel[-1], []
    for first in range(0, width, WIDEST):
        image, part = _columns(x, geometry, first, min(WIDEST, width - first))
        shape = (*part.kernel, 1, x.shape[-1])
        if 0 in image.shape:  # columns of the filter that meet padding alone
            parts.append(jnp.zeros(shape, x.dtype))
            continue
        window = _window(part)
        if not door.has_kernel("filter_gradient", image.shape, g.shape, shape, **window):
            return None
        parts.append(
            door.filter_gradient(image, g, kernel=part.kernel, groups=x.shape[-1], **window)
        )
    return jnp.concatenate(parts, -3)


def _columns(
    x: jax.Array, geometry: Geometry, first: int, count: int
) -> tuple[jax.Array, Geometry]:
    """Return the image and the geometry for the columns of a filter from ``first`` on: the output
    stays the same, so the padding moves, and columns that are not read are cut off."""
    (low, _), dilation = geometry.padding[-1], geometry.dilation[-1]
    width, low = geometry.spatial[-1], low - dilation * first
    reached = geometry.strides[-1] * (geometry.output[-1] - 1) + dilation * (count - 1) + 1
    high = reached - low - width
    start, stop = min(max(0, -low), width), max(width - max(0, -high), 0)
    x = lax.slice_in_dim(x, start, max(start, stop), axis=x.ndim - 2)
    return x, geometry._replace(
        kernel=(*geometry.kernel[:-1], count),
        padding=(*geometry.padding[:-1], (max(0, low), max(0, high))),
        spatial=x.shape[1:-1],
    )


def _window(geometry: Geometry) -> dict[str, Any]:
    return {
        "strides": geometry.strides,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
    }
