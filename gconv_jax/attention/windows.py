"""Windows of images, for attention whose cost grows with the image and not with its square."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gconv_jax.groups.irrep_features import IrrepFeatures, SameFeatures, batch_axes
from gconv_jax.ops.arguments import check_integer, per_axis


def split_windows(x: SameFeatures, window: int, *, dimension: int) -> SameFeatures:
    """Return the windows of a feature map as a larger batch.

    Windows of equal size tile the image from its center as from its corner, so that a motion about
    the center maps windows onto windows.

    Args:
        x: ``[N, *spatial, |G|, C]``, or `IrrepFeatures`.
        window: the side of a window, which divides those of the image.
        dimension: the number of spatial axes.

    Returns:
        ``[N * windows, window, ..., window, |G|, C]``, or `IrrepFeatures` of them.

    Raises:
        ValueError: the window does not divide a side.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import split_windows
    >>> split_windows(jnp.ones((2, 16, 24, 8, 3)), 8, dimension=2).shape
    (12, 8, 8, 8, 3)
    """
    window = check_integer("window", window, least=1)
    _check_axes(batch_axes(x), dimension)
    if isinstance(x, IrrepFeatures):
        return x.map(lambda part: _split(part, window, dimension))
    return _split(jnp.asarray(x), window, dimension)


def join_windows(x: SameFeatures, window: int, spatial: Sequence[int]) -> SameFeatures:
    """Return the feature map of windows: the inverse of `split_windows`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import join_windows, split_windows
    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1, 1)
    >>> bool((join_windows(split_windows(x, 2, dimension=2), 2, (4, 4)) == x).all())
    True
    """
    window = check_integer("window", window, least=1)
    spatial = per_axis(spatial, len(spatial), "spatial")
    _check_axes(batch_axes(x), len(spatial), window)
    if isinstance(x, IrrepFeatures):
        return x.map(lambda part: _join(part, window, spatial))
    return _join(jnp.asarray(x), window, spatial)


def _check_axes(batch: tuple[int, ...], dimension: int, window: int | None = None) -> None:
    """Raise ValueError unless there are so many spatial axes between the first and the group's,
    the sides of a window if that is given."""
    wrong = window is not None and batch[1:] != (window,) * dimension
    if len(batch) != dimension + 1 or wrong:
        sides = "*spatial" if window is None else f"windows of {window} on each side"
        raise ValueError(
            f"`x` must be [N, {sides}, |G|, C] in {dimension} dimensions, got {batch} in front of "
            "the group axis"
        )


def _split(x: jax.Array, window: int, dimension: int) -> jax.Array:
    spatial, rest = x.shape[1 : 1 + dimension], x.shape[1 + dimension :]
    if any(n % window for n in spatial):
        raise ValueError(f"`window` must divide the sides of the image, {spatial}, got {window}")
    cut = [m for n in spatial for m in (n // window, window)]
    x = x.reshape(x.shape[0], *cut, *rest)
    outer, inner = range(1, 2 * dimension, 2), range(2, 2 * dimension + 1, 2)
    batch = x.shape[0] * math.prod(n // window for n in spatial)
    x = x.transpose(0, *outer, *inner, *range(1 + 2 * dimension, x.ndim))
    return x.reshape(batch, *(window,) * dimension, *rest)


def _join(x: jax.Array, window: int, spatial: Sequence[int]) -> jax.Array:
    dimension = len(spatial)
    cut, rest = [n // window for n in spatial], x.shape[1 + dimension :]
    if any(n % window for n in spatial) or x.shape[0] % math.prod(cut):
        raise ValueError(
            f"`spatial` must be the sides of the image that was split, got {tuple(spatial)} for "
            f"{x.shape[0]} windows of {window}"
        )
    x = x.reshape(x.shape[0] // math.prod(cut), *cut, *(window,) * dimension, *rest)
    pairs = [axis for i in range(dimension) for axis in (1 + i, 1 + dimension + i)]
    x = x.transpose(0, *pairs, *range(1 + 2 * dimension, x.ndim))
    return x.reshape(x.shape[0], *spatial, *rest)
