"""Monte-Carlo convolutions on continuous groups of the plane.

Filters are functions of position and group coordinate. The convolution is an integral over a planar
group H. It is estimated by a mean over sampled elements of H, which are kept beside the features
(Finzi et al. 2020, arXiv:2002.12880; Romero & Lohit 2021, arXiv:2110.10211).
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.continuous.sampled import Elements, SampledFeatures
from gconv_jax.conv.common import convolve
from gconv_jax.conv.options import ConvOptions
from gconv_jax.groups.lie import LieGroup, PlanarGroup, check_planar_group, determinant
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.lattice.sampling import tap_positions
from gconv_jax.ops.arguments import per_axis
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.conv import planar_conv

Kernel = Callable[[jax.Array], jax.Array]
"""A function from coordinates ``[..., d]``, those of `kernel_coordinates`, to filter values
``[..., C_in, C_out]``."""


def continuous_lift_conv(
    x: jax.Array,
    kernel: Kernel,
    *,
    group: PlanarGroup,
    elements: Elements,
    kernel_size: int | Sequence[int],
    bias: jax.Array | None = None,
    strides: int | Sequence[int] = 1,
    padding: PaddingLike = "SAME",
    dtype: DTypeLike | None = None,
    precision: lax.PrecisionLike = None,
) -> SampledFeatures:
    """Convolve an image with a filter that is a function of position, turned by each element.

    ``y_o(p, u) = sum_x sum_c f_c(p + x) psi_co(u^-1 x)`` over the taps x inside the disc of radius
    k/2. Turning the image turns the features and their elements: with `all_elements` exactly, for
    angles of the grid that map pixels onto pixels.

    Args:
        x: images ``[*batch, H, W, C_in]``.
        kernel: psi, from `kernel_coordinates` ``[..., d]`` to ``[..., C_in, C_out]``.
        group: `SO2()`, `O2()`, or a finite group of the plane.
        elements: u, from `all_elements`, `sample_elements` or `gconv_jax.continuous.support`.
        kernel_size: k, the same on both axes.
        bias: ``[C_out]``.
        strides, padding, dtype, precision: as in `lift_conv`.

    Returns:
        ``values[*batch, H', W', S, C_out]`` and the elements.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import SO2, all_elements, continuous_lift_conv
    >>> def kernel(at):  # a bar along the rows, of one input and one output channel
    ...     return jnp.exp(-8 * at[..., 0] ** 2)[..., None, None]
    >>> elements = all_elements(SO2(), 8)
    >>> image = jnp.ones((2, 28, 28, 1))
    >>> y = continuous_lift_conv(image, kernel, group=SO2(), elements=elements, kernel_size=5)
    >>> y.values.shape
    (2, 28, 28, 8, 1)
    """
    options = continuous_options(
        "continuous_lift_conv",
        group,
        bias=bias,
        strides=strides,
        padding=padding,
        dtype=dtype,
        precision=precision,
        kernel_size=kernel_size,
    )
    return continuous_lift_conv_with(options, x, kernel, group=group, elements=elements)


def continuous_group_conv(
    x: SampledFeatures,
    kernel: Kernel,
    *,
    group: PlanarGroup,
    elements: Elements,
    kernel_size: int | Sequence[int],
    bias: jax.Array | None = None,
    strides: int | Sequence[int] = 1,
    padding: PaddingLike = "SAME",
    dtype: DTypeLike | None = None,
    precision: lax.PrecisionLike = None,
) -> SampledFeatures:
    """Convolve features at some elements of the group, and give the result at others.

    ``y_o(p, u) = mean_v sum_x sum_c f_c(p + x, v) psi_co(u^-1 x, u^-1 v)``, the mean over the
    elements v of ``x`` that are there. If they are samples of a distribution on the group, this
    estimates the integral over it. With all elements on both sides it satisfies the law of
    `group_conv`, and for a finite group it is `group_conv` with the filter ``psi / |G|`` at taps.

    Args:
        x: features, as a convolution here returned them.
        kernel: psi, from `kernel_coordinates` ``[..., d]`` to ``[..., C_in, C_out]``.
        group, elements, kernel_size, bias, strides, padding, dtype, precision: as in
            `continuous_lift_conv`. With ``kernel_size=1`` it mixes elements and channels alone.

    Returns:
        ``values[*batch, H', W', S', C_out]`` and the S' elements.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import SO2, SampledFeatures, all_elements, continuous_group_conv
    >>> def kernel(at):  # at is (row, column, cos, sin)
    ...     return jnp.exp(-8 * at[..., 0] ** 2 + at[..., 2])[..., None, None]
    >>> x = SampledFeatures(jnp.ones((2, 28, 28, 8, 1)), all_elements(SO2(), 8))
    >>> y = continuous_group_conv(
    ...     x, kernel, group=SO2(), elements=all_elements(SO2(), 16), kernel_size=5
    ... )
    >>> y.values.shape
    (2, 28, 28, 16, 1)
    """
    options = continuous_options(
        "continuous_group_conv",
        group,
        bias=bias,
        strides=strides,
        padding=padding,
        dtype=dtype,
        precision=precision,
        kernel_size=kernel_size,
    )
    return continuous_group_conv_with(options, x, kernel, group=group, elements=elements)


def continuous_options(caller: str, group: PlanarGroup, **given) -> ConvOptions:
    """Return the options of a convolution over a group of the plane, of which the part that maps
    the lattice onto itself decides whether the windows break equivariance."""
    group = check_planar_group(group)
    acts = group.lattice if isinstance(group, LieGroup) else group
    return ConvOptions(caller, refuse_hexagons(acts, caller), **given)


def continuous_lift_conv_with(
    options: ConvOptions, x: jax.Array, kernel: Kernel, *, group: PlanarGroup, elements: Elements
) -> SampledFeatures:
    """Return `continuous_lift_conv` with its options in one value."""
    return _convolve(options, jnp.asarray(x), None, kernel, group, elements)


def continuous_group_conv_with(
    options: ConvOptions,
    x: SampledFeatures,
    kernel: Kernel,
    *,
    group: PlanarGroup,
    elements: Elements,
) -> SampledFeatures:
    """Return `continuous_group_conv` with its options in one value."""
    if not isinstance(x, SampledFeatures):
        raise TypeError(
            "`x` must be SampledFeatures, from continuous_lift_conv / ContinuousLiftConv, got "
            f"{type(x).__name__}"
        )
    count = len(x.elements.weights)
    if x.values.ndim < 4 or x.values.shape[-2] != count:
        raise ValueError(
            f"`x` must have values [*batch, H, W, S={count}, C_in] at its {count} elements, got "
            f"shape {x.values.shape}"
        )
    return _convolve(options, merge_channels(x.values), x.elements, kernel, group, elements)


def _convolve(
    options: ConvOptions,
    x: jax.Array,
    inputs: Elements | None,
    kernel: Kernel,
    group: PlanarGroup,
    elements: Elements,
) -> SampledFeatures:
    bank = continuous_bank(
        kernel,
        group=group,
        elements=elements,
        inputs=inputs,
        kernel_size=options.kernel_size,  # pyright: ignore[reportArgumentType]
    )
    if x.ndim < 3 or x.shape[-1] != bank.shape[-2]:
        parts = 1 if inputs is None else len(inputs.weights)
        raise ValueError(
            f"`x` must have the C_in={bank.shape[-2] // parts} channels that `kernel` takes, got "
            f"{x.shape[-1] // parts}"
        )
    bank = bank.astype(options.result_dtype(x, bank))
    # The elements are channels to the one planar convolution.
    y = convolve(
        x.astype(bank.dtype),
        lambda x, **settings: planar_conv(x, bank, **settings),
        options,
        kernel=bank.shape[:2],
        channel_axes=1,
        order=len(elements.weights),
    )
    return SampledFeatures(y, elements)


def continuous_bank(
    kernel: Kernel,
    *,
    group: PlanarGroup,
    elements: Elements,
    inputs: Elements | None,
    kernel_size: int | Sequence[int],
) -> jax.Array:
    """Return the filters as they enter the planar convolution.

    ``bank[x, (v, i), (u, o)] = psi_io(u^-1 x, u^-1 v) w_v / sum_v w_v``, and 0 outside the disc of
    radius k/2; for lifting, with ``inputs`` None, ``bank[x, i, (u, o)] = psi_io(u^-1 x)``.

    Returns:
        ``[k, k, (S) C_in, S' C_out]``.
    """
    size = square_kernel(kernel_size)
    inside, coordinates = kernel_coordinates(
        group=group, elements=elements, inputs=inputs, kernel_size=size
    )
    values = kernel(coordinates)  # [u, x, (v,) i, o]
    if jnp.ndim(values) != coordinates.ndim + 1 or values.shape[:-2] != coordinates.shape[:-1]:
        raise ValueError(
            "`kernel` must return [..., C_in, C_out] for coordinates [..., d], got shape "
            f"{jnp.shape(values)} for {coordinates.shape}"
        )
    if inputs is not None:
        share = inputs.weights / inputs.weights.sum()
        values = values * share[:, None, None].astype(values.dtype)
    values = jnp.moveaxis(values, 0, -2)  # [x, (v,) i, u, o]
    values = values.reshape(len(inside), -1, values.shape[-2] * values.shape[-1])
    if len(inside) == size**2:
        return values.reshape(size, size, *values.shape[1:])
    bank = jnp.zeros((size**2, *values.shape[1:]), values.dtype).at[inside].set(values)
    return bank.reshape(size, size, *values.shape[1:])


def kernel_coordinates(
    *,
    group: PlanarGroup,
    elements: Elements,
    inputs: Elements | None,
    kernel_size: int,
) -> tuple[np.ndarray, jax.Array]:
    """Return the taps inside the disc, as ``[T]`` indices of the flattened square, and the
    coordinates ``[S', T, d]``, or ``[S', T, S, d]`` between group elements, of the filter there.

    The coordinates are the position ``u^-1 x`` as (row, column), 1 at the outermost taps (left out
    for one tap), and then those of ``u^-1 v`` as a matrix: cosine and sine of its angle if the
    group has rotations, and its determinant, 1 or -1, if it has reflections. They are smooth on the
    group: nothing happens where an angle passes 2 pi.
    """
    inside = taps_in_disc(kernel_size)
    taps = tap_positions(kernel_size).reshape(-1, 2)[inside] / max((kernel_size - 1) / 2, 0.5)
    u = elements.matrices
    einsum = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    # Rows are points: (u^-1 x)^T = x^T u, for the inverse of an isometry is its transpose.
    position = einsum("ta,uab->utb", jnp.asarray(taps, u.dtype), u)
    if kernel_size == 1:
        position = position[..., :0]
    if inputs is None:
        return inside, position
    relative = einsum("uba,vbc->uvac", u, inputs.matrices.astype(u.dtype))
    between = _group_coordinates(group, relative)
    shape = (len(u), len(taps), len(inputs.weights))
    return inside, jnp.concatenate(
        [
            jnp.broadcast_to(position[:, :, None], (*shape, position.shape[-1])),
            jnp.broadcast_to(between[:, None], (*shape, between.shape[-1])),
        ],
        -1,
    )


def coordinate_count(group: PlanarGroup, kernel_size: int, *, lifting: bool) -> int:
    """Return the number d of coordinates that `kernel_coordinates` gives."""
    turns, flips = (False, False) if lifting else _parts(group)
    return (2 if kernel_size > 1 else 0) + 2 * turns + flips


def taps_in_disc(kernel_size: int) -> np.ndarray:
    """Flat indices of the taps within k/2 pixels of the center: all for k = 3, 37 of 49 for 7."""
    radius = np.linalg.norm(tap_positions(kernel_size), axis=-1)
    return np.flatnonzero(radius <= kernel_size / 2)


def scaled_kernel(
    network: Callable[[jax.Array], jax.Array],
    *,
    in_features: int,
    out_features: int,
    kernel_size: int | Sequence[int],
    samples: int,
) -> Kernel:
    """A kernel whose convolution keeps the variance of white features: of a network with
    ``C_in C_out`` outputs of variance 1, times ``sqrt(S / (T C_in))`` for T taps and the S samples
    that are averaged over (1 for lifting). S is a setting of the layer: another number of elements
    in evaluation gives the same mean, not another scale."""
    taps = len(taps_in_disc(square_kernel(kernel_size)))
    scale = math.sqrt(samples / (taps * in_features))

    def kernel(coordinates: jax.Array) -> jax.Array:
        values = scale * network(coordinates)
        return values.reshape(*values.shape[:-1], in_features, out_features)

    return kernel


def _group_coordinates(group: PlanarGroup, matrices: jax.Array) -> jax.Array:
    """Return what a kernel network is told of an element: cosine and sine of its angle if the group
    turns, and the sign of its determinant if the group mirrors."""
    turns, flips = _parts(group)
    return jnp.concatenate(
        [
            *([matrices[..., 0]] if turns else []),
            *([determinant(matrices)[..., None]] if flips else []),
            matrices[..., :0, 0],  # nothing, for the trivial group
        ],
        -1,
    )


def _parts(group: PlanarGroup) -> tuple[bool, bool]:
    """Return whether the group has rotations, and whether it has reflections."""
    if isinstance(group, LieGroup):
        return True, group.reflections
    return (
        any(g.turn for g in group.isometries),  # pyright: ignore[reportAttributeAccessIssue]
        any(g.mirrored for g in group.isometries),
    )


def square_kernel(kernel_size: int | Sequence[int]) -> int:
    """The size of a kernel that is the same on both axes; ValueError if it is not."""
    height, width = per_axis(kernel_size, 2, "kernel_size")
    if height != width:
        raise ValueError(f"`kernel_size` must be equal on both axes, got {kernel_size}")
    return height
