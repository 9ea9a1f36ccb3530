"""Convolutions between functions on cosets: arrows, lines, and other quotients of the group."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from gconv_jax.conv.common import convolve
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import basis_table, filter_axes, filter_bank, gather_table
from gconv_jax.filters.basis import Filters, find_basis
from gconv_jax.filters.initializers import with_new_values
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.padding import PaddingLike
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.arguments import spatial_axes
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.conv import planar_conv


def quotient_conv(
    x: jax.Array,
    w: jax.Array,
    *,
    group: FiniteGroup,
    in_subgroup: FiniteGroup | None = None,
    out_subgroup: FiniteGroup | None = None,
    bias: jax.Array | None = None,
    strides: int | Sequence[int] = 1,
    padding: PaddingLike = "SAME",
    dilation: int | Sequence[int] = 1,
    dtype: DTypeLike | None = None,
    precision: lax.PrecisionLike = None,
    filters: Filters = "pixel",
    kernel_size: int | Sequence[int] | None = None,
) -> jax.Array:
    """Convolve a function on the cosets G/K with a filter, to a function on the cosets G/H.

    ``y(p, rH) = mean_{h in H} sum_q sum_{sK} sum_k x_k(q, sK) psi_k((rh)^-1 (q - p), (rh)^-1 sK)``

    A feature map on G/H does not change when H turns it about its own axis, so it has fewer
    orientations and its convolution costs less: with a mirroring of D_n it is a field of arrows,
    with the half turn of C_n one of lines, with H = G an ordinary image, all of whose filters are
    isotropic (Cohen et al. 2018, arXiv:1811.02017; as quotient fields in Weiler & Cesa 2019,
    arXiv:1911.08251). It is `group_conv` if both subgroups are trivial, and with a trivial
    ``out_subgroup`` and the whole group as ``in_subgroup`` it is `lift_conv`. The law is
    ``quotient_conv(L_g x) == L_g quotient_conv(x)`` with ``transform(..., subgroup=K or H)``.

    Args:
        x: ``[*batch, *spatial, |G/K|, C_in]``, e.g. from `coset_pool`; cosets in the order of
            ``group.cosets(in_subgroup)``.
        w: base filter ``[*kernel, |G/K|, C_in, C_out]``; ``[P, |G/K|, C_in, C_out]`` with
            ``filters`` other than pixels. The mean over H leaves only its part that H does not
            change.
        group: G.
        in_subgroup, out_subgroup: K and H; by default trivial.
        bias, strides, padding, dilation, dtype, precision, filters, kernel_size: as in
            `lift_conv`.

    Returns:
        ``[*batch, *spatial', |G/H|, C_out]``, cosets in the order of
        ``group.cosets(out_subgroup)``.

    Warns, Raises: as `lift_conv`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, mirror, quotient_conv
    >>> image, w = jnp.ones((2, 9, 9, 3)), jnp.ones((3, 3, 1, 3, 5))
    >>> arrows = quotient_conv(
    ...     image[..., None, :], w, group=P4M, in_subgroup=P4M, out_subgroup=mirror()
    ... )
    >>> arrows.shape  # one orientation for each of the four directions
    (2, 9, 9, 4, 5)
    """
    options = ConvOptions(
        "quotient_conv",
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
    return quotient_conv_with(options, x, w, in_subgroup=in_subgroup, out_subgroup=out_subgroup)


def quotient_conv_with(
    options: ConvOptions,
    x: jax.Array,
    w: jax.Array,
    *,
    in_subgroup: FiniteGroup | None,
    out_subgroup: FiniteGroup | None,
) -> jax.Array:
    """Return `quotient_conv` with its options in one value."""
    group, x, w = options.group, jnp.asarray(x), jnp.asarray(w)
    in_cosets, out_cosets = (_cosets(group, h) for h in (in_subgroup, out_subgroup))
    if w.ndim < 3 or w.shape[-3] != len(in_cosets):
        raise ValueError(
            f"`w` must be [*kernel, |G/K|={len(in_cosets)}, C_in, C_out] for {group!r} and "
            f"in_subgroup={in_subgroup!r}, got shape {w.shape}"
        )
    on_group = w[..., _numbers(in_cosets), :, :]
    kernel = options.kernel(on_group, lifting=False)
    c_in, c_out = w.shape[-2:]
    if x.ndim < group.dimension + 2 or x.shape[-2:] != (len(in_cosets), c_in):
        spatial = ", ".join(spatial_axes(group.dimension))
        raise ValueError(
            f"`x` must be [*batch, {spatial}, |G/K|={len(in_cosets)}, C_in={c_in}] for "
            f"{group!r} and in_subgroup={in_subgroup!r}, got shape {x.shape}"
        )
    dtype = options.result_dtype(x, w, floating=True)
    bank = filter_bank(on_group, **options.filter_options)
    bank = bank.reshape(*kernel, group.order, c_in, group.order, c_out)
    bank = bank[..., in_cosets[:, 0], :, :, :]  # the same for all elements of a coset sK
    bank = bank[..., out_cosets, :].mean(-2, dtype=accumulation_dtype(w.dtype))
    bank = bank.reshape(*kernel, len(in_cosets) * c_in, len(out_cosets) * c_out).astype(dtype)
    return convolve(
        x.astype(dtype),
        lambda x, **settings: planar_conv(merge_channels(x), bank, **settings),
        options,
        kernel=kernel,
        channel_axes=2,
        order=len(out_cosets),
    )


def _cosets(group: FiniteGroup, subgroup: FiniteGroup | None) -> np.ndarray:
    """``[|G/H|, |H|]``; each element by itself without a subgroup."""
    if subgroup is None:
        return np.arange(group.order)[:, None]
    return group.cosets(subgroup)


def _numbers(cosets: np.ndarray) -> np.ndarray:
    """The row of ``cosets`` in which each element is."""
    return np.argsort(cosets.ravel()) // cosets.shape[1]


def quotient_kernel(
    key: jax.Array,
    init: Initializer,
    *,
    in_features: int,
    out_features: int,
    kernel_size: tuple[int, ...],
    group: FiniteGroup,
    in_subgroup: FiniteGroup | None,
    out_subgroup: FiniteGroup | None,
    filters: Filters,
    dtype: DTypeLike,
) -> jax.Array:
    """The initial parameters of a layer: those of ``init``, larger by what the mean over H takes
    from the variance of the filters."""
    in_cosets = _cosets(group, in_subgroup)
    shape = (*filter_axes(filters, group, kernel_size), len(in_cosets), in_features, out_features)
    share = _variance_share(group, in_subgroup, out_subgroup, filters, kernel_size)
    factor = np.asarray(share**-0.5, dtype)
    return with_new_values(init(key, shape, dtype), lambda kernel: kernel * factor)


def _variance_share(group, in_subgroup, out_subgroup, filters, kernel_size) -> float:
    """The variance of the mean over H of a filter whose parameters are independent, relative to
    the filter's: the mean over h of ``<T_h, T_e> / <T_e, T_e>``, T_h the map from parameters to the
    filter moved by h."""
    in_cosets, members = _cosets(group, in_subgroup), _cosets(group, out_subgroup)[0]
    fixed = (
        _numbers(in_cosets)[group.cayley[members][:, in_cosets[:, 0]]] == np.arange(len(in_cosets))
    ).mean(1)
    basis = find_basis(filters, group)
    if basis is None:
        taps = gather_table(group, kernel_size, True)
        overlap = (taps[:, members] == taps[:, [group.identity]]).mean(0)
    else:
        moved = basis_table(basis, group, kernel_size)
        still = moved[group.identity]
        overlap = np.einsum("htp,tp->h", moved[members], still) / (still**2).sum()
    return float((fixed * overlap).mean())
