"""Pooling over windows in space that keeps the equivariance law; upsampling."""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.exactness import warn_if_inexact
from gconv_jax.lattice.hexagons import check_hexagons, hexagon_mask, mask_of, refuse_hexagons
from gconv_jax.lattice.padding import PaddingLike, Windows, make_windows
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.arguments import per_axis, spatial_axes
from gconv_jax.ops.maximum import max_of_pairs, max_of_pairs_pays, maximum
from gconv_jax.planar.depthwise import depthwise_conv

# Larger windows would make too many slices; they go to reduce_window.
_SMALL_WINDOW = 4


def max_pool(
    x: jax.Array,
    *,
    group: FiniteGroup,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: PaddingLike = "VALID",
    lifted: bool,
) -> jax.Array:
    """Return the maximum over windows in space, for each group element and channel.

    Args:
        x: feature maps ``[*batch, *spatial, |G|, C]`` if ``lifted``, else images
            ``[*batch, *spatial, C]``. The group axis may also be one of cosets.
        group: the group whose law is to hold; it decides the number of spatial axes.
        window_shape: the size of the windows, one integer or one for each spatial axis.
        strides: one integer or one for each spatial axis; by default the size of the windows, so
            that they tile the image.
        padding: ``SAME``, ``VALID``, an integer, integers or (low, high) pairs. Padding never
            wins a maximum.
        lifted: whether ``x`` has a group axis.

    Returns:
        The same layout with ``(n + 2p - k) // s + 1`` pixels on each axis.

    Warns:
        InexactEquivarianceWarning: ``(n + 2p - k) % s != 0``, e.g. 2 x 2 windows on odd sizes.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> max_pool(jnp.ones((2, 24, 24, 4, 5)), group=P4, window_shape=2, lifted=True).shape
    (2, 12, 12, 4, 5)
    """

    def reduce(x, windows, pads):
        init = _lowest(x.dtype)
        if max(windows.size) > _SMALL_WINDOW or any(any(pad) for pad in pads):
            return lax.reduce_window(
                x, init, lax.max, (1, *windows.size, 1), (1, *windows.strides, 1), pads
            )
        tiling = windows.size == windows.strides and set(windows.size) == {2}
        if tiling and max_of_pairs_pays(x.shape[-1], x.ndim - 2, x.dtype, jax.default_backend()):
            return max_of_pairs(x, tuple(range(1, x.ndim - 1)))
        # XLA fuses maxima of slices with the operations around them, and on a CPU their gradient is
        # several times faster than that of reduce_window.
        for axis, (size, stride) in enumerate(zip(windows.size, windows.strides, strict=True), 1):
            end = x.shape[axis] - size + 1
            taps = [lax.slice_in_dim(x, t, t + end, stride, axis) for t in range(size)]
            x = functools.reduce(maximum, taps)
        return x

    return _pool("max_pool", reduce, x, group, window_shape, strides, padding, lifted)


def avg_pool(
    x: jax.Array,
    *,
    group: FiniteGroup,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: PaddingLike = "VALID",
    lifted: bool,
) -> jax.Array:
    """Return the mean over windows in space, for each group element and channel.

    Arguments, result, warnings and errors are those of `max_pool`. Padding counts as zeros, as in
    Flax. The accumulation dtype is float32 or longer; integers give float32.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> x = jnp.ones((2, 25, 25, 4, 5))
    >>> avg_pool(x, group=P4, window_shape=3, strides=2, lifted=True).shape
    (2, 12, 12, 4, 5)
    """

    def reduce(x, windows, pads):
        dtype = accumulation_dtype(x.dtype)  # sums overflow shorter types
        total = lax.reduce_window(
            x.astype(dtype),
            np.array(0, dtype),
            lax.add,
            (1, *windows.size, 1),
            (1, *windows.strides, 1),
            pads,
        )
        mean = total / math.prod(windows.size)
        return mean.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else mean

    return _pool("avg_pool", reduce, x, group, window_shape, strides, padding, lifted)


def blur_pool(
    x: jax.Array,
    *,
    group: FiniteGroup,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: PaddingLike = "VALID",
    lifted: bool,
) -> jax.Array:
    """Return every ``strides``-th pixel of the image after a blur, which prevents aliasing.

    The blur is a binomial filter (Zhang 2019, arXiv:1904.11486): (1, 2, 1) / 4 for a window of 3,
    (1, 3, 3, 1) / 8 for 4, and so on. Arguments, result, warnings and errors are those of
    `max_pool`. Padding counts as zeros. With ``padding=1`` and strides of 2, a window of 3 keeps
    the law on odd sizes, a window of 4 on even sizes.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> x = jnp.ones((2, 24, 24, 4, 5))
    >>> blur_pool(x, group=P4, window_shape=4, strides=2, padding=1, lifted=True).shape
    (2, 12, 12, 4, 5)
    """

    def reduce(x, windows, pads):
        dtype = accumulation_dtype(x.dtype)
        weights = np.ones(())
        for size in windows.size:
            row = np.array([math.comb(size - 1, i) for i in range(size)]) / 2 ** (size - 1)
            weights = np.multiply.outer(weights, row)
        weights = jnp.broadcast_to(
            jnp.asarray(weights, dtype)[..., None, None], (*windows.size, 1, x.shape[-1])
        )
        y = depthwise_conv(
            x.astype(dtype),
            weights,
            strides=windows.strides,
            padding=pads[1:-1],
            dilation=(1,) * len(windows.size),
        )
        return y.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else y

    refuse_hexagons(check_group(group), "blur_pool")
    return _pool("blur_pool", reduce, x, group, window_shape, strides, padding, lifted)


def upsample(
    x: jax.Array,
    *,
    group: FiniteGroup,
    scale: int | Sequence[int],
    method: Literal["nearest", "bilinear"] = "nearest",
    lifted: bool,
) -> jax.Array:
    """Enlarge every spatial axis ``scale`` times, by repetition or linear interpolation.

    Both commute exactly with the elements of a lattice group. Pixels are squares: the borders of
    the image stay where they are, and ``bilinear`` extends the outermost values.

    Args:
        x, group, lifted: as in `max_pool`.
        scale: the factor, an integer or one for each spatial axis.
        method: ``"nearest"`` or ``"bilinear"``.

    Returns:
        The same layout with ``scale`` times as many pixels on each axis.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> upsample(jnp.ones((2, 12, 12, 4, 5)), group=P4, scale=2, lifted=True).shape
    (2, 24, 24, 4, 5)
    """
    if method not in ("nearest", "bilinear"):
        raise ValueError(f"`method` must be 'nearest' or 'bilinear', got {method!r}")
    x = jnp.asarray(x)
    first, spatial = _spatial_axes(x, group, lifted)
    refuse_hexagons(group, "upsample")
    scale = per_axis(scale, group.dimension, "scale")
    # The check of windows serves for factors: axes that the group exchanges must have equal ones.
    warn_if_inexact(Windows(scale, scale, "VALID"), scale, group=group, caller="upsample")
    shape = list(x.shape)
    for axis, (n, factor) in enumerate(zip(spatial, scale, strict=True)):
        shape[first + axis] = n * factor
    return jax.image.resize(x, shape, "nearest" if method == "nearest" else "linear")


def _lowest(dtype) -> np.ndarray:
    """Return the value of a dtype that never wins a maximum."""
    return np.array(-np.inf if jnp.issubdtype(dtype, jnp.inexact) else jnp.iinfo(dtype).min, dtype)


def _hexagonal_pool(x: jax.Array, windows: Windows, pads, channel_axes: int, *, largest: bool):
    """Pool over windows that are hexagons; pixels outside the hexagon count as padding."""
    first = x.ndim - 2 - channel_axes
    inside = mask_of(x, channel_axes) > 0
    if not largest:
        x = x.astype(accumulation_dtype(x.dtype))
    fill = jnp.asarray(_lowest(x.dtype) if largest else 0, x.dtype)
    none = [(0, 0, 0)]
    padding = none * first + [(low, high, 0) for low, high in pads] + none * channel_axes
    x = lax.pad(jnp.where(inside, x, fill), fill, padding)
    taps = []
    for tap in np.argwhere(hexagon_mask(windows.size[0])):
        part = x
        for axis, start in enumerate(tap.tolist()):
            end = x.shape[first + axis] - windows.size[axis] + start + 1
            part = lax.slice_in_dim(part, start, end, windows.strides[axis], first + axis)
        taps.append(part)
    y = functools.reduce(maximum, taps) if largest else sum(taps[1:], taps[0]) / len(taps)
    return jnp.where(mask_of(y, channel_axes) > 0, y, jnp.zeros((), y.dtype))


def _spatial_axes(x: jax.Array, group: FiniteGroup, lifted: bool) -> tuple[int, tuple[int, ...]]:
    """Return the index of the first spatial axis and the sizes of all spatial axes."""
    check_group(group)
    rank = group.dimension
    first = x.ndim - rank - (2 if lifted else 1)
    if first < 0 or (lifted and group.order % x.shape[-2]):
        layout = f"[*batch, {', '.join(spatial_axes(rank))}, {'|G|, ' if lifted else ''}C]"
        raise ValueError(
            f"`x` must be {layout} for {group!r} and lifted={lifted}, got shape {x.shape}; pass "
            "lifted=False for an image, lifted=True for a feature map on the group"
        )
    return first, x.shape[first : first + rank]


def _pool(caller, reduce, x, group, window_shape, strides, padding, lifted) -> jax.Array:
    x = jnp.asarray(x)
    first, spatial = _spatial_axes(x, group, lifted)
    window_shape = per_axis(window_shape, group.dimension, "window_shape")
    windows = make_windows(
        window_shape,
        window_shape if strides is None else strides,
        padding,
        size_name="window_shape",
    )
    if windows.padding in ("CIRCULAR", "REFLECT"):
        raise ValueError(f"`padding` of {caller} must be zeros, 'SAME' or 'VALID', got {padding!r}")
    if any(
        max(windows.pads(axis, n)) >= k
        for axis, (n, k) in enumerate(zip(spatial, window_shape, strict=True))
    ):
        raise ValueError(
            f"`padding` of {caller} must be smaller than the window {window_shape}, got {padding!r}"
            ": a window must not lie in the padding alone"
        )
    warn_if_inexact(windows, spatial, group=group, caller=caller)
    output = [windows.output_size(axis, n) for axis, n in enumerate(spatial)]
    pads = [windows.pads(axis, n) for axis, n in enumerate(spatial)]
    if group.is_hexagonal:
        check_hexagons(windows, output)
        return _hexagonal_pool(x, windows, pads, 2 if lifted else 1, largest=caller == "max_pool")
    y = reduce(
        x.reshape(-1, *spatial, math.prod(x.shape[first + len(spatial) :])),
        windows,
        [(0, 0), *pads, (0, 0)],
    )
    return y.reshape(*x.shape[:first], *output, *x.shape[first + len(spatial) :])
