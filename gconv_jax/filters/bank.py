"""The filter bank: a base filter, transformed by every element of a group.

On the square lattice the action only moves taps, so a bank is one gather with a table of
indices. For finer rotations filters are combinations of functions of the plane
(`gconv_jax.filters.basis`), and a bank is one product with a table of their values. Tables are
NumPy arrays, computed once for each group, kernel size and basis.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.filters.basis import FilterBasis, Filters, evaluate, find_basis
from gconv_jax.groups.fields import Fields, check_fields, multiply
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.action import move_axes
from gconv_jax.lattice.hexagons import hexagon_size
from gconv_jax.lattice.sampling import tap_positions
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.arguments import per_axis
from gconv_jax.ops.frozen import freeze_array


def filter_bank(
    w: jax.Array,
    *,
    group: FiniteGroup,
    lifting: bool = False,
    filters: Filters = "pixel",
    kernel_size: int | Sequence[int] | None = None,
    fields: Fields | None = None,
) -> jax.Array:
    """Return the filters of all output elements, as they enter the planar convolution.

    The output element r sees the filter moved by r (Cohen & Welling 2016, arXiv:1602.07576, section
    7). That is ``psi_r(x) = psi(r^-1 x)`` for a lifting filter and
    ``psi_r(x, s) = psi(r^-1 x, r^-1 s)`` for a filter on the group. The rotation is about the
    center of the filter, which for an even size lies between pixels.

    Args:
        w: the base filter, ``[*kernel, C_in, C_out]`` if ``lifting``, else
            ``[*kernel, |G|, C_in, C_out]``, with as many kernel axes as the group has dimensions.
            With ``filters`` other than pixels, one axis of P parameters replaces the kernel axes.
            On hexagonal lattices it is the axis of the taps of a hexagon (`gconv_jax.hexagonal`).
        group: the group; with ``filters="pixel"`` it must map the lattice onto itself.
        lifting: whether the filter acts on images instead of on feature maps.
        filters: the meaning of the parameters. ``pixel``: the taps, for a group that acts exactly
            on the lattice (`FiniteGroup.is_lattice`) or filters of one tap. ``bilinear``,
            ``bicubic``: the taps in a disc, interpolated in between (`Interpolated`).
            ``harmonic``: coefficients of circular harmonics (`Harmonic`). It may also be a
            `FilterBasis` of your own. All are exact for the elements that map the lattice onto
            itself.
        kernel_size: the size of the filters, for ``filters`` other than pixels.
        fields: what the channels of the image are, for a lifting filter; numbers by default. The
            filter of a vector is a vector, which is turned as well: ``psi_r(x) = rho(r) psi(r^-1
            x)``.

    Returns:
        ``[*kernel, C_in, |G| C_out]`` or ``[*kernel, |G| C_in, |G| C_out]``. On both axes the
        group index is the slow one. The output element r = identity holds the filter as it is,
        which for pixels means the raw weights.

    Raises:
        ValueError: the rank or the group axis of ``w`` does not fit, an element would turn the
            kernel on its side (non-square under a quarter turn), the group is too fine for
            pixels, or the channels are not those of ``fields``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, filter_bank
    >>> w = jnp.arange(4.0).reshape(2, 2, 1, 1)
    >>> filter_bank(w, group=P4, lifting=True)[:, :, 0, 1]  # the quarter turn of the filter
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """
    check_group(group)
    kernel = check_filter(w, group=group, lifting=lifting, filters=filters, kernel_size=kernel_size)
    basis = find_basis(filters, group)
    c_in, c_out = w.shape[-2:]
    if basis is not None:
        bank = _combine(w, basis_table(basis, group, kernel), group, lifting)
    else:
        table = gather_table(group, kernel, lifting)  # [taps, s, r] or [taps, r]
        bank = w.reshape(-1, c_in, c_out)[table]  # [taps, (s,) r, C_in, C_out]
        bank = jnp.moveaxis(bank, -3, -2)  # [taps, (s,) C_in, r, C_out]
    if fields is not None:
        if not lifting:
            raise ValueError("`fields` must be None for a filter on the group, not on an image")
        rho = check_fields(fields, group, c_in, "C_in").matrices(group)
        bank = multiply("rji,tiro->tjro", rho, bank)
    return bank.reshape(*kernel, -1, group.order * c_out)


def _combine(w: jax.Array, turned: np.ndarray, group: FiniteGroup, lifting: bool) -> jax.Array:
    """Return ``[taps, (s,) C_in, r, C_out]`` from the functions of the basis, turned by each r."""
    dtype = accumulation_dtype(w.dtype)  # half precision is kept for the convolution
    axes, parts = "rtp,pio->tiro", w.astype(dtype)
    if not lifting:
        axes, parts = "rtp,prsio->tsiro", parts[:, group.cayley[group.inverse]]  # r^-1 s
    bank = jnp.einsum(axes, jnp.asarray(turned, dtype), parts, precision=lax.Precision.HIGHEST)
    return bank.astype(w.dtype) if jnp.issubdtype(w.dtype, jnp.inexact) else bank


def filter_axes(
    filters: Filters, group: FiniteGroup, kernel_size: Sequence[int]
) -> tuple[int, ...]:
    """Return the first axes of a base filter: ``kernel_size`` for pixels, (P,) for a basis.

    ValueError if the filters cannot be turned by the group.
    """
    basis = find_basis(filters, group)
    kernel_size = tuple(kernel_size)
    if basis is None:
        gather_table(group, kernel_size, True)
        return kernel_size
    return (basis_table(basis, group, kernel_size).shape[-1],)


def check_filter(
    w: jax.Array,
    *,
    group: FiniteGroup,
    lifting: bool,
    filters: Filters = "pixel",
    kernel_size: int | Sequence[int] | None = None,
    name: str = "w",
) -> tuple[int, ...]:
    """Return the size of the kernel; ValueError unless ``w`` has the shape of a base filter."""
    rank = group.dimension
    of_pixels = find_basis(filters, group) is None
    if kernel_size is None and group.is_hexagonal and w.ndim:
        kernel_size = hexagon_size(w.shape[0])
    if kernel_size is not None:
        kernel_size = per_axis(kernel_size, rank, "kernel_size")
    elif not of_pixels:
        raise ValueError(
            f"`kernel_size` must be given with filters={filters!r}, whose parameters are not taps"
        )
    axes = ["C_in", "C_out"] if lifting else ["|G|", "C_in", "C_out"]
    if kernel_size is None:
        layout = f"[{', '.join(['*kernel', *axes])}] with {rank} kernel axes"
        first = w.shape[:rank]
    else:
        first = filter_axes(filters, group, kernel_size)
        layout = f"[{', '.join([*map(str, first), *axes])}]"
    if w.ndim != len(first) + len(axes) or w.ndim < rank or w.shape[: len(first)] != first:
        of = "" if of_pixels else f" and filters={filters!r} of size {kernel_size}"
        raise ValueError(f"`{name}` must be {layout} for {group!r}{of}, got shape {w.shape}")
    if not lifting and w.shape[-3] != group.order:
        raise ValueError(
            f"`{name}` must be {layout} with a group axis of size {group.order} for {group!r}, got "
            f"shape {w.shape}"
        )
    if kernel_size is None:
        return filter_axes(filters, group, first)
    return kernel_size


@functools.cache
def gather_table(group: FiniteGroup, kernel: tuple[int, ...], lifting: bool) -> np.ndarray:
    """Return indices into the flattened base filter: [tap, (input element,) output element]."""
    taps = np.arange(np.prod(kernel)).reshape(kernel)
    turned = []
    for r in group.elements:
        moved = taps  # a single tap stays where it is
        if taps.size > 1:
            permutation, flipped = move_axes(group, r)
            moved = np.flip(taps.transpose(permutation), tuple(flipped))  # moved[x] = taps[r^-1 x]
        if moved.shape != kernel:
            raise ValueError(
                f"`kernel_size` must be equal on axes that {group!r} exchanges, got {kernel}: "
                f"element {r} ({group.element_name(r)}) would turn the filter on its side"
            )
        turned.append(moved.ravel())
    table = np.stack(turned, -1)  # [tap, r]
    if not lifting:
        source = group.cayley[group.inverse]  # source[r, s] = r^-1 s
        table = table[:, None, :] * group.order + source.T[None]
    return freeze_array(table.astype(np.int32))  # the same with and without jax_enable_x64


@functools.cache
def basis_table(basis: FilterBasis, group: FiniteGroup, kernel: tuple[int, ...]) -> np.ndarray:
    """Return ``T[r, tap, p] = b_p(r^-1 x)`` at the tap x: float64, read-only."""
    if len(kernel) != 2:
        raise ValueError(
            f"`filters` must be 'pixel' for a group that does not act on the plane, got {basis!r} "
            f"for {group!r}"
        )
    if kernel[0] != kernel[1]:
        raise ValueError(
            f"`kernel_size` must be equal on both axes for filters={basis!r}, got {kernel}"
        )
    taps = tap_positions(kernel[0]).reshape(-1, 2)
    # Rows are points: (r^-1 x)^T = x^T r^-T, on hexagons in axial coordinates.
    inverses = group.matrices[group.inverse]
    turned = [evaluate(basis, taps @ r.T, kernel[0]) for r in inverses]
    if len({values.shape for values in turned}) > 1:
        raise ValueError(
            f"`filters` must return as many functions at all points, got {basis!r} with "
            f"{sorted({values.shape[-1] for values in turned})}"
        )
    return freeze_array(np.stack(turned))
