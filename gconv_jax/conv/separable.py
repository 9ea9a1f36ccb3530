"""Separable group convolutions: a filter that is a product of one of space and one of the group."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm
from gconv_jax.conv.depthwise import depthwise_group_conv_with
from gconv_jax.conv.group import group_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_axes
from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import with_new_values
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.lattice.padding import PaddingLike

Separable = Literal["g", "gc"]


def separable_group_conv(
    x: jax.Array,
    w_spatial: jax.Array,
    w_pointwise: jax.Array,
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
    algorithm: Algorithm = "auto",
) -> jax.Array:
    """The group convolution with the product of a filter on space and a filter on the group
    (Lengyel & van Gemert 2021, arXiv:2110.13059).

    ``psi(x, h)[i, o] = spatial(x)[i, o] pointwise(h)[i, o]``. One spatial filter for each pair of
    channels is *g-separable*; one for each output channel, ``spatial(x)[o]``, is *gc-separable*.
    The result is that of `group_conv` with this product, to rounding. The gc-separable form is
    computed in its two steps, a product over group and channels at each pixel and then a depthwise
    convolution with the spatial filters turned by the output's group element:
    ``|G|^2 C_in C_out + taps |G| C_out`` multiplications for a pixel in place of
    ``taps |G|^2 C_in C_out``. The g-separable form has fewer parameters, but its two steps would
    write ``|G| C_in C_out`` numbers for a pixel, so the product is convolved.

    Args:
        x: feature maps ``[*batch, *spatial, |G|, C_in]``.
        w_spatial: ``[*kernel, C_in, C_out]`` (g-separable) or ``[*kernel, 1, C_out]``
            (gc-separable); one axis of P parameters for the kernel's with ``filters`` other than
            pixels.
        w_pointwise: ``[|G|, C_in, C_out]``.
        group, bias, strides, padding, dilation, dtype, precision, filters, kernel_size: as in
            `lift_conv`.
        algorithm: as in `group_conv`, of the product over group and channels (gc-separable) or of
            the whole (g-separable).

    Returns:
        ``[*batch, *spatial', |G|, C_out]``.

    Warns, Raises: as `lift_conv`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, separable_group_conv
    >>> w_spatial, w_pointwise = jnp.ones((3, 3, 1, 6)), jnp.ones((4, 5, 6))
    >>> separable_group_conv(jnp.ones((2, 9, 9, 4, 5)), w_spatial, w_pointwise, group=P4).shape
    (2, 9, 9, 4, 6)
    """
    options = ConvOptions(
        "separable_group_conv",
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
    return separable_group_conv_with(options, x, w_spatial, w_pointwise, algorithm=algorithm)


def separable_group_conv_with(
    options: ConvOptions,
    x: jax.Array,
    w_spatial: jax.Array,
    w_pointwise: jax.Array,
    *,
    algorithm: Algorithm = "auto",
) -> jax.Array:
    """Return `separable_group_conv` with its options in one value."""
    group = refuse_hexagons(options.group, options.caller)
    x, w_spatial, w_pointwise = (jnp.asarray(a) for a in (x, w_spatial, w_pointwise))
    options.kernel(w_spatial, lifting=True, name="w_spatial")
    _check_pointwise(w_spatial, w_pointwise, group)
    options = replace(options, dtype=options.result_dtype(x, w_spatial, w_pointwise))
    if w_spatial.shape[-2] == w_pointwise.shape[1]:
        product = w_spatial[..., None, :, :] * w_pointwise
        return group_conv_with(options, x, product, algorithm=algorithm)
    pointwise = ConvOptions(options.caller, group, dtype=options.dtype, precision=options.precision)
    w_pointwise = w_pointwise[(None,) * group.dimension]
    mixed = group_conv_with(pointwise, x, w_pointwise, algorithm=algorithm)
    return depthwise_group_conv_with(options, mixed, w_spatial)


def _check_pointwise(w_spatial: jax.Array, w_pointwise: jax.Array, group: FiniteGroup) -> None:
    if w_pointwise.ndim != 3 or w_pointwise.shape[0] != group.order:
        raise ValueError(
            f"`w_pointwise` must be [|G|={group.order}, C_in, C_out] for {group!r}, got shape "
            f"{w_pointwise.shape}"
        )
    c_in, c_out = w_pointwise.shape[1:]
    if w_spatial.shape[-1] != c_out or w_spatial.shape[-2] not in (1, c_in):
        raise ValueError(
            f"`w_spatial` must end in [C_in={c_in}, C_out={c_out}] (g-separable) or "
            f"[1, C_out={c_out}] (gc-separable) to go with `w_pointwise` of shape "
            f"{w_pointwise.shape}, got shape {w_spatial.shape}"
        )


def spatial_kernel(
    key: jax.Array,
    init: Initializer,
    *,
    in_features: int,
    out_features: int,
    kernel_size: tuple[int, ...],
    group: FiniteGroup,
    separable: Separable,
    filters: Filters,
    dtype: DTypeLike,
) -> jax.Array:
    """The initial spatial filters of a layer. Their fan-in is their taps, so that the product with
    the pointwise filter has the variance of a filter on space and group."""
    if separable not in ("g", "gc"):
        raise ValueError(f"`separable` must be 'g' or 'gc', got {separable!r}")
    taps = filter_axes(filters, group, kernel_size)
    each = in_features if separable == "g" else 1
    made = init(key, (*taps, 1, each * out_features), dtype)
    return with_new_values(made, lambda kernel: kernel.reshape(*taps, each, out_features))
