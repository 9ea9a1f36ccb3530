"""Convolutions to half the pixels: exactly equivariant on images of any size, or as published.

The published networks for CIFAR-10 halve 32 pixels twice with 3x3 filters, padding 1 and stride 2.
Such windows begin at one border of an image of even size and miss the other. So they see other
places of the turned image, and the law breaks (`gconv_jax.lattice.padding`). Means of 2 x 2 pixels
tile an even size, and means of 3 x 3 with stride 2 end flush on an odd one. A convolution with
stride 1 after them has the same parameters and as many multiplications. For rotations that are
finer than the lattice a blur takes the place of the means: it lets through less of what half the
pixels cannot show, and so changes less with the angle.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from gconv_jax.groups.finite import trivial
from gconv_jax.nnx import GroupConv, SeparableGroupConv
from gconv_jax.ops.channels import merge_channels
from gconv_jax.pooling.spatial import avg_pool, blur_pool

Geometry = Literal["exact", "published"]
GEOMETRIES = ("exact", "published")
SMALLEST = 4  # the least size that can be halved twice


class _Halving:
    """A convolution from n to about n / 2 pixels.

    With ``geometry="exact"`` it follows `halve`. With ``"published"`` it has strides of 2, and
    warns where they break the law. ``kernel_size`` must be odd.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        geometry: Geometry,
        **options,
    ):
        self.geometry = check_geometry(geometry)
        strides = 2 if geometry == "published" else 1
        options |= {"strides": strides, "padding": kernel_size // 2}
        super().__init__(in_features, out_features, kernel_size, **options)  # pyright: ignore[reportCallIssue]

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return ``[N, *spatial / 2, |G|, out_features]`` of ``[N, *spatial, |G|, in_features]``,
        for about half the pixels on each axis."""
        if self.geometry == "exact":
            x = halve(x, blurred=not self.group.is_lattice)  # pyright: ignore[reportAttributeAccessIssue]
        return super().__call__(x)  # pyright: ignore[reportAttributeAccessIssue]


class HalvingConv(_Halving, GroupConv):
    """A `GroupConv` to half the pixels."""


class HalvingSeparableConv(_Halving, SeparableGroupConv):
    """A `SeparableGroupConv` to half the pixels."""


def halve(x: jax.Array, *, blurred: bool = False) -> jax.Array:
    """Return means over windows that are their own mirror image: n pixels become ``n // 2``.

    Args:
        x: a feature map ``[N, *spatial, |G|, C]`` with at least 2 pixels on each axis.
        blurred: True for a binomial filter of 4 or 5 pixels, as in `gconv_jax.blur_pool`, in place
            of the mean of 2 or 3.

    Returns:
        ``[N, *spatial // 2, |G|, C]``.

    >>> import jax.numpy as jnp
    >>> halve(jnp.ones((2, 8, 9, 4, 5))).shape
    (2, 4, 4, 4, 5)
    """
    # The windows may differ between axes, since each belongs to a size, and sizes turn along.
    # avg_pool would warn of that under any group but the trivial one.
    spatial = x.shape[1:-2]
    group, pool = trivial(dimension=len(spatial)), blur_pool if blurred else avg_pool
    window = tuple(2 + 2 * blurred + n % 2 for n in spatial)
    y = merge_channels(x)
    if blurred:
        y = jnp.pad(y, ((0, 0), *[(1, 1)] * len(spatial), (0, 0)), mode="edge")
    y = pool(y, group=group, window_shape=window, strides=2, lifted=False)
    return y.reshape(*y.shape[:-1], *x.shape[-2:])


def check_geometry(geometry: Geometry) -> Geometry:
    """Return ``geometry`` itself; ValueError unless it is one of `GEOMETRIES`."""
    if geometry not in GEOMETRIES:
        raise ValueError(f"`geometry` must be one of {', '.join(GEOMETRIES)}, got {geometry!r}")
    return geometry
