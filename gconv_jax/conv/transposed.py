"""Transposed group convolutions: the adjoint of a group convolution, to more pixels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.conv.common import add_bias
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_bank
from gconv_jax.filters.basis import Filters
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.exactness import warn_if_inexact
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.lattice.padding import PaddingLike, Windows
from gconv_jax.ops.arguments import per_axis, spatial_axes
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.implementation import make_static, planar_form
from gconv_jax.planar.primitive import Form


def group_conv_transpose(
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
    """Put the filter, turned by s and times ``x(q, s)``, at every position ``strides q`` of a
    larger image, and add: the way back from a strided `group_conv`.

    ``y(p, r) = sum_q sum_s sum_k x_k(q, s) psi_k(s^-1 (p - strides q), s^-1 r)``. It is the adjoint
    of the group convolution with ``psi`` from C_out to C_in channels and the same strides, padding
    and dilation, ``<group_conv_transpose(x, w), z> == <x, group_conv(z, w^T)>``, and satisfies
    ``group_conv_transpose(L_g x) == L_g group_conv_transpose(x)`` where the padding is symmetric.

    Args:
        x: feature maps ``[*batch, *spatial, |G|, C_in]``.
        w: base filter ``[*kernel, |G|, C_in, C_out]``; ``[P, |G|, C_in, C_out]`` with ``filters``
            other than pixels.
        strides: how many times larger the result is.
        padding: pixels cut off at the borders: those that the convolution the other way pads.
            ``VALID`` cuts off none, to ``(n - 1) s + k`` pixels (k with dilation); ``SAME`` gives
            ``n s``, and keeps the law if k - s is even, e.g. 2 or 4 with stride 2; an integer p
            gives ``(n - 1) s + k - 2 p``; or integers or (low, high) pairs for each axis.
        group, bias, dilation, dtype, precision, filters, kernel_size: as in `lift_conv`.

    Returns:
        ``[*batch, *spatial', |G|, C_out]``.

    Warns:
        InexactEquivarianceWarning: more is cut off on one side than on the other, as ``SAME`` does
            for 3 with stride 2.

    Raises:
        ValueError, TypeError: shapes that do not fit, or unknown options.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, group_conv_transpose
    >>> x, w = jnp.ones((2, 7, 7, 4, 6)), jnp.ones((2, 2, 4, 6, 5))
    >>> group_conv_transpose(x, w, group=P4, strides=2).shape
    (2, 14, 14, 4, 5)
    """
    options = ConvOptions(
        "group_conv_transpose",
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
    return group_conv_transpose_with(options, x, w)


def group_conv_transpose_with(options: ConvOptions, x: jax.Array, w: jax.Array) -> jax.Array:
    """Return `group_conv_transpose` with its options in one value."""
    group = refuse_hexagons(options.group, options.caller)
    x, w = jnp.asarray(x), jnp.asarray(w)
    kernel = options.kernel(w, lifting=False)
    rank, (c_in, c_out) = group.dimension, w.shape[-2:]
    if x.ndim < rank + 2 or x.shape[-2:] != (group.order, c_in):
        axes = ", ".join(spatial_axes(rank))
        raise ValueError(
            f"`x` must be [*batch, {axes}, |G|={group.order}, C_in={c_in}] for "
            f"{group!r}, got shape {x.shape}"
        )
    dtype = options.result_dtype(x, w, floating=True)
    batch, spatial = x.shape[: -2 - rank], x.shape[-2 - rank : -2]
    windows, pads = windows_of_transpose(options.windows(kernel))
    output = [
        (n - 1) * s + k - low - high
        for n, s, k, (low, high) in zip(spatial, windows.strides, windows.size, pads, strict=True)
    ]
    if min(output) < 1:
        raise ValueError(f"`padding` {options.padding!r} leaves nothing of {spatial} pixels")
    warn_if_inexact(windows, output, group=group, caller=options.caller)
    # [*kernel, G C_out, G C_in]
    bank = filter_bank(w.swapaxes(-1, -2), **options.filter_options).astype(dtype)
    static = make_static(
        output,
        kernel,
        strides=windows.strides,
        padding=pads,
        dilation=per_axis(options.dilation, rank, "dilation"),
        precision=options.precision,
    )
    x = merge_channels(x.astype(dtype)).reshape(-1, *spatial, group.order * c_in)
    y = add_bias(planar_form(Form.INPUT_GRADIENT, x, bank, static), options.bias, group.order)
    return y.reshape(*batch, *output, group.order, c_out)


def windows_of_transpose(windows: Windows) -> tuple[Windows, tuple[tuple[int, int], ...]]:
    """The same with explicit padding, and that: of the convolution whose adjoint is meant."""
    if windows.padding == "VALID":
        pads = [(0, 0)] * len(windows.size)
    elif windows.padding == "SAME":
        # (n - 1) s + k - low - high = n s; less is cut off than nothing if k < s.
        totals = [k - s for k, s in zip(windows.size, windows.strides, strict=True)]
        pads = [(total // 2, total - total // 2) for total in totals]
    elif isinstance(windows.padding, str):
        raise ValueError(
            f"`padding` must be 'SAME', 'VALID' or integers for a transposed convolution, got "
            f"{windows.padding!r}"
        )
    else:
        pads = windows.padding
    return Windows(windows.size, windows.strides, tuple(pads)), tuple(pads)
