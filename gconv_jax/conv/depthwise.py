"""Depthwise group convolutions: each channel and element with a turned filter of its own."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.conv.common import convolve
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_bank
from gconv_jax.filters.basis import Filters
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.ops.arguments import spatial_axes
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.depthwise import depthwise_conv


def depthwise_group_conv(
    x: jax.Array,
    w: jax.Array,
    *,
    group: FiniteGroup,
    bias: jax.Array | None = None,
    strides: int | Sequence[int] = 1,
    padding: PaddingLike = "SAME",
    dilation: int | Sequence[int] = 1,
    dtype: DTypeLike | None = None,
    precision: lax.PrecisionLike = None,
    filters: Filters = "pixel",
    kernel_size: int | Sequence[int] | None = None,
) -> jax.Array:
    """Convolve each channel of each group element with one filter, which is turned by the element.

    ``y(p, h)[c] = sum_t x(p + h t, h)[c] w(t)[c]``: it mixes positions, and neither elements nor
    channels, which `group_linear` does. It takes ``taps |G| C`` multiplications for a pixel.
    `separable_group_conv` is the two after one another.

    Args:
        x: feature maps ``[*batch, *spatial, |G|, C]``.
        w: base filter ``[*kernel, 1, C]``, as ``nnx.Conv`` with ``feature_group_count`` has it;
            ``[P, 1, C]`` with ``filters`` other than pixels.
        group, bias, strides, padding, dilation, dtype, precision, filters, kernel_size: as in
            `lift_conv`; not on hexagonal lattices.

    Returns:
        ``[*batch, *spatial', |G|, C]``.

    Warns, Raises: as `lift_conv`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, depthwise_group_conv
    >>> x, w = jnp.ones((2, 9, 9, 8, 5)), jnp.ones((7, 7, 1, 5))
    >>> depthwise_group_conv(x, w, group=P4M).shape
    (2, 9, 9, 8, 5)
    """
    options = ConvOptions(
        "depthwise_group_conv",
        check_group(group),
        bias,
        strides,
        padding,
        dilation,
        dtype,
        precision,
        filters,
        kernel_size,
    )
    return depthwise_group_conv_with(options, x, w)


def depthwise_group_conv_with(options: ConvOptions, x: jax.Array, w: jax.Array) -> jax.Array:
    """Return `depthwise_group_conv` with its options in one value."""
    group = refuse_hexagons(options.group, options.caller)
    x, w = jnp.asarray(x), jnp.asarray(w)
    kernel = options.kernel(w, lifting=True)
    least = group.dimension + 2
    if w.shape[-2] != 1 or x.ndim < least or x.shape[-2:] != (group.order, w.shape[-1]):
        axes = ", ".join(spatial_axes(group.dimension))
        raise ValueError(
            f"`x` must be [*batch, {axes}, |G|={group.order}, C] and `w` [*kernel, 1, C] for "
            f"{group!r}, got shapes {x.shape} and {w.shape}"
        )
    dtype = options.result_dtype(x, w)
    bank = filter_bank(w, lifting=True, **options.filter_options).astype(dtype)
    return convolve(
        x.astype(dtype),
        lambda y, **settings: depthwise_conv(merge_channels(y), bank, **settings),
        options,
        kernel=kernel,
        channel_axes=2,
        order=group.order,
    )
