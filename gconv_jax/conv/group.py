"""Group convolutions: a filter bank, then one planar convolution."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm, check_algorithm, fourier_platforms
from gconv_jax.conv.common import convolve
from gconv_jax.conv.exact_subgroup import exact_subgroup
from gconv_jax.conv.fourier import Platform, fourier_conv
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_bank
from gconv_jax.filters.basis import Filters
from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.ops.arguments import per_axis, spatial_axes
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.conv import planar_conv


def lift_conv(
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
    fields: Fields | None = None,
) -> jax.Array:
    """Convolve an image with a filter in every pose of the group (Cohen & Welling 2016,
    arXiv:1602.07576, eq. 10).

    ``[f * psi](g) = sum_y sum_k f_k(y) psi_k(g^-1 y)`` for g = (translation, group element). It
    satisfies ``lift_conv(L_g x) == L_g lift_conv(x)`` with the actions of `transform`.

    Args:
        x: images ``[*batch, *spatial, C_in]``, with any number of batch axes, or none.
        w: base filter ``[*kernel, C_in, C_out]``, odd or even sizes; ``[P, C_in, C_out]`` with
            ``filters`` other than pixels.
        group: e.g. `P4` or `P4M`, which act exactly on the lattice; with ``filters`` other than
            pixels any group of the plane, e.g. ``cyclic(16)``.
        bias: ``[C_out]``, shared by all elements.
        strides, dilation: an integer, or one for each spatial axis.
        padding: ``SAME`` (zeros, symmetric wherever possible), ``VALID``, ``CIRCULAR``,
            ``REFLECT``, an integer, or integers or (low, high) pairs for each axis.
        dtype: of computation and result; by default what ``x``, ``w`` and ``bias`` promote to.
        precision: as in ``jax.lax``.
        filters, kernel_size: what the parameters ``w`` are, as in `filter_bank`.
        fields: what the channels of ``x`` are, if some are components of vectors, e.g.
            ``Fields(scalars=1, vectors=1)``. The law is then that of ``transform(..., fields=)``.

    Returns:
        A feature map on the group, ``[*batch, *spatial', |G|, C_out]``.

    Warns:
        InexactEquivarianceWarning: the sizes break the law, `(n + 2p - k) % s != 0` on an axis.

    Raises:
        ValueError, TypeError: shapes that do not fit, or unknown options.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, lift_conv
    >>> lift_conv(jnp.ones((2, 28, 28, 1)), jnp.ones((3, 3, 1, 10)), group=P4).shape
    (2, 28, 28, 4, 10)
    """
    options = ConvOptions(
        "lift_conv",
        check_group(group),
        bias,
        strides,
        padding,
        dilation,
        dtype,
        precision,
        filters,
        kernel_size,
        fields,
    )
    return lift_conv_with(options, x, w)


def lift_conv_with(options: ConvOptions, x: jax.Array, w: jax.Array) -> jax.Array:
    """Return `lift_conv` with its options in one value."""
    group, x, w = options.group, jnp.asarray(x), jnp.asarray(w)
    kernel = options.kernel(w, lifting=True)
    check_image(x, w, group)
    dtype = options.result_dtype(x, w)
    bank = filter_bank(w, lifting=True, fields=options.fields, **options.filter_options)
    bank = bank.astype(dtype)
    return convolve(
        x.astype(dtype),
        lambda x, **settings: planar_conv(x, bank, **settings),
        options,
        kernel=kernel,
        channel_axes=1,
        order=group.order,
    )


def group_conv(
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
    algorithm: Algorithm = "auto",
) -> jax.Array:
    """Convolve a feature map on the group with a filter on the group (Cohen & Welling 2016,
    arXiv:1602.07576, eq. 11).

    ``[f * psi](g) = sum_h sum_k f_k(h) psi_k(g^-1 h)``, h over positions and group elements. It
    satisfies ``group_conv(L_g x) == L_g group_conv(x)``.

    Args:
        x: feature maps ``[*batch, *spatial, |G|, C_in]``, from `lift_conv` or `group_conv`.
        w: base filter ``[*kernel, |G|, C_in, C_out]``; ``[P, |G|, C_in, C_out]`` with ``filters``
            other than pixels.
        group, bias, strides, padding, dilation, dtype, precision, filters, kernel_size: as in
            `lift_conv`.
        algorithm: ``dense`` convolves with the filter bank, ``fourier`` transforms over the group
            (`gconv_jax.conv.fourier`), which needs fewer multiplications and gives the same values
            to rounding; ``auto`` takes the faster (`gconv_jax.conv.algorithm`). With ``filters``
            other than pixels, the transform is over the elements that map the lattice onto itself,
            such as `P4` in ``cyclic(16)`` (`gconv_jax.conv.exact_subgroup`).

    Returns:
        ``[*batch, *spatial', |G|, C_out]``.

    Warns, Raises: as `lift_conv`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, group_conv
    >>> group_conv(jnp.ones((2, 9, 9, 4, 5)), jnp.ones((3, 3, 4, 5, 6)), group=P4).shape
    (2, 9, 9, 4, 6)
    """
    options = ConvOptions(
        "group_conv",
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
    return group_conv_with(options, x, w, algorithm=algorithm)


def group_conv_with(
    options: ConvOptions, x: jax.Array, w: jax.Array, *, algorithm: Algorithm = "auto"
) -> jax.Array:
    """Return `group_conv` with its options in one value."""
    group, x, w = options.group, jnp.asarray(x), jnp.asarray(w)
    kernel = options.kernel(w, lifting=False)
    check_feature_map(x, w, group)
    check_algorithm(algorithm, group, options.filters)
    dtype = options.result_dtype(x, w)
    form = _form(options, kernel, w, dtype, algorithm)
    return convolve(
        x.astype(dtype), form, options, kernel=kernel, channel_axes=2, order=group.order
    )


def _form(
    options: ConvOptions,
    kernel: tuple[int, ...],
    w: jax.Array,
    dtype: DTypeLike,
    algorithm: Algorithm,
) -> Callable[..., jax.Array]:
    """Return the convolution of `group_conv` with ``w``, in the form that ``algorithm`` asks for:
    a filter bank, or a Fourier transform over the group or over its exact subgroup."""
    group, basis = options.group, options.basis

    def dense(x: jax.Array, **settings) -> jax.Array:
        bank = filter_bank(w, **options.filter_options).astype(dtype)
        return planar_conv(merge_channels(x), bank, **settings)

    def platforms(group: FiniteGroup, copies: int) -> tuple[Platform, ...]:
        return fourier_platforms(
            algorithm,
            group=group,
            kernel=kernel,
            strides=per_axis(options.strides, group.dimension, "strides"),
            c_in=copies * w.shape[-2],
            c_out=copies * w.shape[-1],
            dtype=dtype,
        )

    if not jnp.issubdtype(dtype, jnp.inexact):  # sums of integers are exact
        return dense
    if basis is None:
        where = platforms(group, 1)
        return lambda x, **settings: fourier_conv(
            x, w.astype(dtype), group=group, platforms=where, **settings
        )
    exact = exact_subgroup(group)
    if algorithm == "dense" or exact.is_trivial:
        return dense
    where = platforms(exact.subgroup, exact.cosets)
    # Two copies of feature maps cost more than a smaller filter bank saves.
    if exact.permutes and not where:
        return dense
    v = exact.filter(w, basis, kernel).astype(dtype)
    return lambda x, **settings: exact.extend(
        fourier_conv(exact.restrict(x), v, group=exact.subgroup, platforms=where, **settings)
    )


def check_image(x: jax.Array, w: jax.Array, group: FiniteGroup) -> None:
    c_in = w.shape[-2]
    remedy = "for a feature map on the group use group_conv / GroupConv"
    # Two batch axes would be read off a feature map that came here by mistake.
    mistaken = x.ndim == group.dimension + 3 and x.shape[-2] == group.order > 1
    if mistaken:
        remedy += "; if these are two batch axes, reshape them to one"
    elif x.ndim > group.dimension and x.shape[-1] == c_in:
        return
    elif x.ndim > group.dimension and x.shape[-1 - group.dimension] == c_in:
        remedy = f"channels come last: move them with jnp.moveaxis(x, {-1 - group.dimension}, -1)"
    spatial = ", ".join(spatial_axes(group.dimension))
    raise ValueError(
        f"`x` must be [*batch, {spatial}, C_in={c_in}] for {group!r}, got shape {x.shape}; {remedy}"
    )


def check_feature_map(x: jax.Array, w: jax.Array, group: FiniteGroup) -> None:
    expected = (group.order, w.shape[-2])
    if x.ndim > group.dimension + 1 and x.shape[-2:] == expected:
        return
    spatial = ", ".join(spatial_axes(group.dimension))
    raise ValueError(
        f"`x` must be [*batch, {spatial}, |G|={group.order}, C_in={w.shape[-2]}] for {group!r}, "
        f"got shape {x.shape}; for an image use lift_conv / LiftConv"
    )
