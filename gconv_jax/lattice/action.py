"""The left action of a group on images and feature maps; rotation by any angle."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from gconv_jax.filters.bank import move_axes
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.hexagonal import mask_of, move_table
from gconv_jax.ops.accumulation import long_dtype


def transform(
    x: jax.Array,
    *,
    group: FiniteGroup,
    element: int,
    lifted: bool,
    subgroup: FiniteGroup | None = None,
) -> jax.Array:
    """The left action ``L_g``, exact on the lattice.

    ``[L_g f](p) = f(g^-1 p)`` on images and ``[L_g f](p, h) = f(g^-1 p, g^-1 h)`` on feature maps:
    space turns, and the orientations are permuted as well (Cohen & Welling 2016,
    arXiv:1602.07576, section 4). Pixels move about the centre of the image; a quarter turn of an
    H x W image is W x H. On hexagonal lattices, what is outside the hexagon becomes zero.

    Args:
        x: images ``[*batch, *spatial, C]``, or feature maps ``[*batch, *spatial, |G|, C]`` if
            ``lifted``, or ``[*batch, *spatial, |G| / |H|, C]`` with a ``subgroup``.
        group: any group.
        element: the index of g, which must map the lattice onto itself. For other angles use
            `rotate`.
        lifted: whether ``x`` has a group axis.
        subgroup: H, for functions on the left cosets G/H, such as `coset_pool` returns.

    Returns:
        The transformed ``x``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> x = jnp.arange(4.0).reshape(2, 2, 1)
    >>> transform(x, group=P4, element=1, lifted=False)[..., 0]
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """
    check_group(group)
    if subgroup is not None and not lifted:
        raise ValueError("`subgroup` is for functions on cosets: pass lifted=True with it")
    x = jnp.asarray(x)
    first = x.ndim - group.dimension - (2 if lifted else 1)
    cosets = group.elements if subgroup is None else group.cosets(subgroup)
    if first < 0 or (lifted and x.shape[-2] != len(cosets)):
        group_axis = f"{len(cosets)}, " if lifted else ""
        raise ValueError(
            f"`x` must be [*batch, {', '.join('DHW'[-group.dimension :])}, {group_axis}C] for "
            f"{group!r} and lifted={lifted}, got shape {x.shape}"
        )
    batch, channels = range(first), range(first + group.dimension, x.ndim)
    if group.is_hexagonal:
        x = _move_hexagons(x, group.matrices[group.check_element(element)], len(channels))
    else:
        permutation, flipped = move_axes(group, element)
        x = jnp.transpose(x, (*batch, *(first + p for p in permutation), *channels))
        x = jnp.flip(x, tuple(first + axis for axis in flipped))
    if not lifted:
        return x
    source = group.cayley[group.inverse[element]]  # source[h] = g^-1 h
    if subgroup is not None:
        table = group.cosets(subgroup).tolist()
        coset_of = {h: i for i, coset in enumerate(table) for h in coset}
        source = jnp.array([coset_of[int(source[coset[0]])] for coset in table])
    return x[..., source, :]


def _move_hexagons(x: jax.Array, matrix: np.ndarray, channel_axes: int) -> jax.Array:
    mask = mask_of(x, channel_axes)
    batch, channels = x.shape[: -2 - channel_axes], x.shape[x.ndim - channel_axes :]
    source = move_table(matrix, len(mask)).ravel()
    moved = jnp.take(x.reshape(*batch, -1, *channels), np.maximum(source, 0), axis=len(batch))
    return moved.reshape(x.shape) * mask


def rotate(x: jax.Array, angle: jax.Array | float, *, fill: jax.Array | float = 0.0) -> jax.Array:
    """Turn images by any angle about their centre, with bilinear interpolation.

    ``y(p) = x(R(-angle) p)``, and ``fill`` where that lies outside the image. A quarter turn is
    ``jnp.rot90`` up to rounding. The angle may be traced; for one angle for each image use
    ``jax.vmap(rotate)``.

    Args:
        x: ``[*batch, H, W, C]``.
        angle: in radians, counter-clockwise as displayed; a scalar.
        fill: the value outside the image; a scalar, or an array that broadcasts to ``x`` and is the
            same for all pixels of an image: ``[C]`` for one value for each channel,
            ``[*batch, 1, 1, C]`` for one for each image and channel. It may be traced.

    Returns:
        ``[*batch, H, W, C]``, in the dtype of ``x`` if that is floating or complex, else float32.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(2, 2, 1)
    >>> jnp.round(rotate(x, jnp.pi / 2), 4)[..., 0]
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """
    x = jnp.asarray(x)  # float64 of NumPy is float32 where JAX has no other
    if x.ndim < 3:
        raise ValueError(f"`x` must be [*batch, H, W, C], got shape {x.shape}")
    if jnp.ndim(angle) != 0:
        raise ValueError(
            f"`angle` must be a scalar, got shape {jnp.shape(angle)}; for one angle for each image "
            "use jax.vmap(rotate)"
        )
    # Backwards, so that missing axes in front count as 1.
    sizes = list(zip(jnp.shape(fill)[::-1], x.shape[::-1], strict=False))
    too_many = jnp.ndim(fill) > x.ndim
    if too_many or any(n != 1 and (axis in (1, 2) or n != m) for axis, (n, m) in enumerate(sizes)):
        raise ValueError(
            f"`fill` must be a scalar or broadcast to `x` {x.shape} with one value for each image "
            f"and channel, [C] or [*batch, 1, 1, C], got shape {jnp.shape(fill)}"
        )
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.dtype(jnp.float32)
    height, width = x.shape[-3:-1]
    # Half-precision coordinates would be off by pixels.
    angle = jnp.asarray(angle, long_dtype(jnp.finfo(dtype).dtype))
    rows = jnp.arange(height, dtype=angle.dtype)[:, None] - (height - 1) / 2
    columns = jnp.arange(width, dtype=angle.dtype)[None, :] - (width - 1) / 2
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source = [
        cos * rows + sin * columns + (height - 1) / 2,
        cos * columns - sin * rows + (width - 1) / 2,
    ]

    def resample(plane):
        return map_coordinates(plane, source, order=1, mode="constant")

    # Coordinates and pixels in one type, and what lies outside as 0: map_coordinates takes no
    # traced value for that.
    fill = jnp.asarray(fill, long_dtype(dtype))
    planes = jnp.moveaxis(x.astype(fill.dtype) - fill, -1, 0).reshape(-1, height, width)
    turned = jax.vmap(resample)(planes).reshape(x.shape[-1], *x.shape[:-1])
    return (jnp.moveaxis(turned, 0, -1) + fill).astype(dtype)
