"""Rotation of images by any angle, between the pixels."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from gconv_jax.ops.accumulation import accumulation_dtype


def rotate(x: jax.Array, angle: jax.Array | float, *, fill: jax.Array | float = 0.0) -> jax.Array:
    """Turn images by any angle about their center, with bilinear interpolation.

    The result is ``y(p) = x(R(-angle) p)``, and ``fill`` where that point lies outside the image. A
    quarter turn is ``jnp.rot90`` up to rounding. The angle may be traced; for one angle for each
    image use ``jax.vmap(rotate)``.

    Args:
        x: ``[*batch, H, W, C]``.
        angle: the angle in radians, counter-clockwise as displayed; a scalar.
        fill: the value outside the image, which may be traced. It is a scalar, ``[C]`` for one
            value for each channel, or ``[*batch, 1, 1, C]`` for one for each image and channel.

    Returns:
        ``[*batch, H, W, C]``, in the dtype of ``x`` if that is floating or complex, else float32.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(2, 2, 1)
    >>> jnp.round(rotate(x, jnp.pi / 2), 4)[..., 0]
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """
    x = jnp.asarray(x)  # float64 of NumPy becomes float32 unless JAX has 64 bits
    if x.ndim < 3:
        raise ValueError(f"`x` must be [*batch, H, W, C], got shape {x.shape}")
    if jnp.ndim(angle) != 0:
        raise ValueError(
            f"`angle` must be a scalar, got shape {jnp.shape(angle)}; for one angle for each image "
            "use jax.vmap(rotate)"
        )
    # Sizes are compared from the last axis on, so that missing axes in front count as 1.
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
    angle = jnp.asarray(angle, accumulation_dtype(jnp.finfo(dtype).dtype))
    rows = jnp.arange(height, dtype=angle.dtype)[:, None] - (height - 1) / 2
    columns = jnp.arange(width, dtype=angle.dtype)[None, :] - (width - 1) / 2
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source = [
        cos * rows + sin * columns + (height - 1) / 2,
        cos * columns - sin * rows + (width - 1) / 2,
    ]

    def resample(plane):
        return map_coordinates(plane, source, order=1, mode="constant")

    # Coordinates and pixels need one dtype. The fill is subtracted first and added last, since
    # map_coordinates takes no traced value for what lies outside.
    fill = jnp.asarray(fill, accumulation_dtype(dtype))
    planes = jnp.moveaxis(x.astype(fill.dtype) - fill, -1, 0).reshape(-1, height, width)
    turned = jax.vmap(resample)(planes).reshape(x.shape[-1], *x.shape[:-1])
    return (jnp.moveaxis(turned, 0, -1) + fill).astype(dtype)
