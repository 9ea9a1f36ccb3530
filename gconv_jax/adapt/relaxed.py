"""Relaxed group convolutions: filters whose weights may differ between the elements of a group.

A layer whose data are only approximately symmetric learns by how much. The law holds at the start,
where the weights of all elements are equal, and `symmetry_breaking` says which elements depart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm, check_algorithm
from gconv_jax.conv.common import convolve
from gconv_jax.conv.group import check_feature_map, check_image, group_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_bank
from gconv_jax.filters.basis import Filters
from gconv_jax.filters.kernel_transforms import check_transform
from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.conv import planar_conv


def relaxed_lift_conv(
    x: jax.Array,
    w: jax.Array,
    weights: jax.Array,
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
    """Convolve an image with filters in every pose, mixed by weights of each pose's own (Wang,
    Walters & Yu 2022, arXiv:2201.11969).

    ``y(g) = sum_l weights[l, g] lift_conv(x, w[l])(g)``. It is equivariant if and only if the mixed
    filter ``sum_l weights[l, g] w[l]`` is the same for all elements g. With one filter bank and
    weights of ones it is `lift_conv`, to the last bit. It takes the time of `lift_conv` whatever L
    is, since the filters are mixed before the convolution.

    Args:
        x: images ``[*batch, *spatial, C_in]``.
        w: L base filters ``[L, *kernel, C_in, C_out]``; ``[L, P, C_in, C_out]`` with ``filters``
            other than pixels.
        weights: ``[L, |G|]``, for each base filter and element of the output.
        group, bias, strides, padding, dilation, dtype, precision, filters, kernel_size, fields: as
            in `lift_conv`.

    Returns:
        ``[*batch, *spatial', |G|, C_out]``.

    Warns, Raises: as `lift_conv`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, relaxed_lift_conv
    >>> x, w = jnp.ones((2, 9, 9, 3)), jnp.ones((2, 3, 3, 3, 5))
    >>> relaxed_lift_conv(x, w, jnp.ones((2, 4)), group=P4).shape
    (2, 9, 9, 4, 5)
    """
    options = ConvOptions(
        "relaxed_lift_conv",
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
    return relaxed_lift_conv_with(options, x, w, weights)


def relaxed_lift_conv_with(
    options: ConvOptions, x: jax.Array, w: jax.Array, weights: jax.Array
) -> jax.Array:
    """Return `relaxed_lift_conv` with its options in one value."""
    x, w, weights = (jnp.asarray(a) for a in (x, w, weights))
    kernel = _check_filters(options, w, weights, lifting=True)
    check_image(x, w, options.group)
    dtype = options.result_dtype(x, w, weights)
    bank = _mixed_bank(options, w, weights, lifting=True).astype(dtype)
    return convolve(
        x.astype(dtype),
        lambda x, **settings: planar_conv(x, bank, **settings),
        options,
        kernel=kernel,
        channel_axes=1,
        order=options.group.order,
    )


def relaxed_group_conv(
    x: jax.Array,
    w: jax.Array,
    weights: jax.Array,
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
    """Convolve a feature map with filters on the group, mixed by weights of each element's own
    (Wang, Walters & Yu 2022, arXiv:2201.11969).

    ``[f * psi](g) = sum_h sum_l f(h) weights[l, h] psi_l(g^-1 h)``, h over positions and group
    elements; the weights are those of the element. It is equivariant if and only if the mixed
    filter ``sum_l weights[l, h] psi_l`` is the same for all elements h. With one filter bank and
    weights of ones it is `group_conv` with the same algorithm, to the last bit.

    Args:
        x: feature maps ``[*batch, *spatial, |G|, C_in]``.
        w: L base filters ``[L, *kernel, |G|, C_in, C_out]``; ``[L, P, |G|, C_in, C_out]`` with
            ``filters`` other than pixels.
        weights: ``[L, |G|]``, for each base filter and element of the input.
        group, bias, strides, padding, dilation, dtype, precision, filters, kernel_size: as in
            `lift_conv`.
        algorithm: ``dense`` mixes the filter banks before the convolution, which takes the time of
            `group_conv` whatever L is. ``fourier`` transforms L weighted copies of the input over
            the group. ``auto`` is that of `group_conv` for L = 1, and ``dense`` for more.

    Returns:
        ``[*batch, *spatial', |G|, C_out]``.

    Warns, Raises: as `lift_conv`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, group_conv, relaxed_group_conv
    >>> x = jnp.arange(2 * 9 * 9 * 4 * 3.0).reshape(2, 9, 9, 4, 3)
    >>> w, weights = jnp.ones((1, 3, 3, 4, 3, 5)), jnp.ones((1, 4))
    >>> y = relaxed_group_conv(x, w, weights, group=P4)
    >>> y.shape, bool((y == group_conv(x, w[0], group=P4)).all())
    ((2, 9, 9, 4, 5), True)
    """
    options = ConvOptions(
        "relaxed_group_conv",
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
    return relaxed_group_conv_with(options, x, w, weights, algorithm=algorithm)


def relaxed_group_conv_with(
    options: ConvOptions,
    x: jax.Array,
    w: jax.Array,
    weights: jax.Array,
    *,
    algorithm: Algorithm = "auto",
) -> jax.Array:
    """Return `relaxed_group_conv` with its options in one value."""
    group = options.group
    x, w, weights = (jnp.asarray(a) for a in (x, w, weights))
    kernel = _check_filters(options, w, weights, lifting=False)
    check_feature_map(x, w, group)
    check_algorithm(algorithm, group, options.filters)
    dtype = options.result_dtype(x, w, weights)
    x = x.astype(dtype)
    if len(w) == 1 or algorithm == "fourier":
        # The sum over l is one over channels: of L weighted copies, and of stacked filters.
        x = x[..., None, :] * weights.T.astype(dtype)[..., None]  # [..., |G|, L, C_in]
        x = x.reshape(*x.shape[:-2], -1)
        stacked = jnp.moveaxis(w, 0, -3)
        stacked = stacked.reshape(*stacked.shape[:-3], -1, w.shape[-1])
        return group_conv_with(replace(options, dtype=dtype), x, stacked, algorithm=algorithm)
    bank = _mixed_bank(options, w, weights, lifting=False).astype(dtype)
    return convolve(
        x,
        lambda x, **settings: planar_conv(merge_channels(x), bank, **settings),
        options,
        kernel=kernel,
        channel_axes=2,
        order=group.order,
    )


def relaxed_departure(w: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the distance of each element's filter from the mean over the elements, relative to
    that mean.

    ``d(h) = |sum_l (weights[l, h] - mean_l) w[l]| / |sum_l mean_l w[l]|``, where ``mean_l`` is the
    mean of ``weights[l]`` over the elements and ``|.|`` the Frobenius norm over all axes of a base
    filter (its coefficients, for ``filters`` other than pixels). It is 0 for all elements if and
    only if all have the same filter, and then exactly 0: the convolution is equivariant.

    The mean contains the elements that depart. If one of n elements departs and the others agree,
    its value is n - 1 times theirs.

    Args:
        w: L base filters ``[L, ...]`` of `relaxed_lift_conv` or `relaxed_group_conv`.
        weights: ``[L, |G|]``.

    Returns:
        ``[|G|]``, at least float32. Where the mean filter is zero, it is infinite, or 0 if the
        element's filter is zero as well. It is differentiable; where it is 0, its gradient is 0.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import relaxed_departure
    >>> w = jnp.ones((1, 3, 3, 2, 5))
    >>> relaxed_departure(w, jnp.ones((1, 4)))
    Array([0., 0., 0., 0.], dtype=float32)
    >>> relaxed_departure(w, jnp.array([[1.0, 1.0, 5.0, 1.0]]))
    Array([0.5, 0.5, 1.5, 0.5], dtype=float32)
    """
    w, weights = jnp.asarray(w), jnp.asarray(weights)
    if weights.ndim != 2 or not w.ndim or w.shape[0] != weights.shape[0] or not weights.size:
        raise ValueError(
            "`w` must be [L, ...] and `weights` [L, |G|] with as many filter banks L, got shapes "
            f"{w.shape} and {weights.shape}"
        )
    dtype = accumulation_dtype(jnp.result_type(w, weights))
    w, weights = w.reshape(len(w), -1).astype(dtype), weights.astype(dtype)
    # Relative to the first element, so that equal weights give exact zeros.
    from_first = weights - weights[:, :1]
    offset = from_first.mean(1, keepdims=True)
    departures = _length((from_first - offset).T, w)
    mean = _length((weights[:, :1] + offset).T, w)
    quotient = departures / jnp.where(mean > 0, mean, 1)
    return jnp.where((mean > 0) | (departures == 0), quotient, jnp.inf)


def symmetry_breaking(layer: Any, *, group: FiniteGroup | None = None) -> dict[str, float]:
    """Return how far each element's filter departs from the mean, by the names of the elements.

    The values are those of `relaxed_departure`, of the filters after ``kernel_transform``. Elements
    that the data do not have as a symmetry stand out after training; all values are 0 if and only
    if the layer is equivariant.

    Args:
        layer: an NNX layer such as `gconv_jax.nnx.RelaxedGroupConv`, or a mapping with ``kernel``
            and ``weights``, such as the parameters of one Linen layer.
        group: the group. It must be given for a mapping; a layer has its own.

    Returns:
        A number for each element, in the order of the group.

    Raises:
        TypeError: ``layer`` has no ``kernel`` and ``weights``.
        ValueError: the group is missing, or is not that of the weights.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4, symmetry_breaking
    >>> from gconv_jax.nnx import RelaxedGroupConv
    >>> layer = RelaxedGroupConv(3, 5, 3, group=P4, rngs=nnx.Rngs(0))
    >>> layer.weights[...] = jnp.array([[1.0, 1.0, 5.0, 1.0]])
    >>> print({name: round(d, 2) for name, d in symmetry_breaking(layer).items()})
    {'e': 0.5, 'r90': 0.5, 'r180': 1.5, 'r270': 0.5}
    """
    kernel, weights = (_parameter(layer, name) for name in ("kernel", "weights"))
    own = None if isinstance(layer, Mapping) else getattr(layer, "group", None)
    group = own if group is None else group
    if group is None:
        raise ValueError(
            "`group` must be given with the parameters of a layer, which do not name their "
            "elements: pass the layer's, such as group=P4"
        )
    check_group(group)
    if own not in (None, group) or weights.shape[-1:] != (group.order,):
        raise ValueError(
            f"`group` must be that of the layer, got {group!r} of order {group.order} for weights "
            f"[L, |G|] of shape {weights.shape}" + ("" if own is None else f" over {own!r}")
        )
    kernel = check_transform(getattr(layer, "kernel_transform", None))(kernel)
    departures = relaxed_departure(kernel, weights).tolist()
    return {group.element_name(g): departures[g] for g in group.elements}


def with_banks(init: Initializer, count: int) -> Initializer:
    """Return an initializer of ``count`` base filters ``[L, ...]``. Their axis counts for the
    fan-in, since what they contribute to an output is summed."""

    def banks(key, shape, *args, **kwargs):
        return init(key, (count, *shape), *args, **kwargs)

    return banks


def _check_filters(
    options: ConvOptions, w: jax.Array, weights: jax.Array, *, lifting: bool
) -> tuple[int, ...]:
    """Return the size of the kernel; ValueError unless filters and weights fit."""
    group = options.group
    if not w.ndim or not w.shape[0] or weights.shape != (w.shape[0], group.order):
        layout = "[L, *kernel, C_in, C_out]" if lifting else "[L, *kernel, |G|, C_in, C_out]"
        raise ValueError(
            f"`weights` must be [L, |G|={group.order}] for {group!r}, with as many filter banks L "
            f"as `w` {layout} has, got shapes {weights.shape} and {w.shape}"
        )
    return options.kernel(w[0], lifting=lifting, name="w[0]")


def _mixed_bank(
    options: ConvOptions, w: jax.Array, weights: jax.Array, *, lifting: bool
) -> jax.Array:
    """Return the sum of the L filter banks, weighed on the group axis of the output if ``lifting``,
    else of the input: ``[*kernel, (|G|) C_in, |G| C_out]``."""
    settings = options.filter_options
    banks = jax.vmap(lambda w: filter_bank(w, lifting=lifting, fields=options.fields, **settings))(
        w
    )
    each = jnp.repeat(weights, w.shape[-1 if lifting else -2], axis=1)  # [L, |G| C]
    shape = (1, each.shape[1]) if lifting else (each.shape[1], 1)
    each = each.reshape(len(w), *[1] * (banks.ndim - 3), *shape)
    dtype = jnp.result_type(banks, each)
    return (banks.astype(dtype) * each.astype(dtype)).sum(0)


def _length(weights: jax.Array, w: jax.Array) -> jax.Array:
    """Return the length of ``sum_l weights[h, l] w[l]`` for each h, of a finite gradient at 0."""
    mixed = jnp.dot(weights, w, precision=lax.Precision.HIGHEST)
    square = (mixed * jnp.conj(mixed)).real.sum(1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _parameter(layer: Any, name: str) -> jax.Array:
    """Return a parameter of a layer or a mapping by its name; TypeError if it has none."""
    try:
        found = layer[name] if isinstance(layer, Mapping) else getattr(layer, name)
    except (KeyError, AttributeError):
        kind = type(layer).__name__
        if isinstance(layer, Mapping):
            kind = f"a mapping with {', '.join(map(str, layer)) or 'nothing'}"
        raise TypeError(
            f"`layer` must be a relaxed layer or its parameters `kernel` and `weights`, got {kind}"
        ) from None
    return jnp.asarray(found[...])
