"""How a group acts on a filter, and the bank of transformed filters that this gives.

On the square lattice the action only moves taps, so a bank is one gather with a table of
indices. Tables are NumPy integers, computed once per (group, kernel size) and cached.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups import FiniteGroup, check_group


def filter_bank(w: jax.Array, *, group: FiniteGroup, lifting: bool = False) -> jax.Array:
    """The filters of all output elements, as they enter the planar convolution.

    ``psi_r(x) = psi(r^-1 x)`` for a lifting filter and ``psi_r(x, s) = psi(r^-1 x, r^-1 s)`` for
    a filter on the group: the output element r sees the filter moved by r (Cohen & Welling 2016,
    arXiv:1602.07576, section 7). The rotation is about the centre of the filter, which for an
    even size lies between pixels.

    Args:
        w: base filter, ``[*kernel, C_in, C_out]`` if ``lifting``, else
            ``[*kernel, |G|, C_in, C_out]``, with as many kernel axes as the group has dimensions.
        group: a group that acts exactly on the lattice (`FiniteGroup.is_lattice`).
        lifting: whether the filter acts on images instead of on feature maps.

    Returns:
        ``[*kernel, C_in, |G| C_out]`` or ``[*kernel, |G| C_in, |G| C_out]``. On both axes the
        group index is the slow one; output element r = identity holds the raw weights.

    Raises:
        ValueError: wrong rank, group axis that does not match, kernel that an element would turn
            on its side (non-square under a quarter turn), or a group finer than the lattice.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, filter_bank
    >>> w = jnp.arange(4.0).reshape(2, 2, 1, 1)
    >>> filter_bank(w, group=P4, lifting=True)[:, :, 0, 1]  # the quarter turn of the filter
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """
    check_group(group)
    check_filter(w, group=group, lifting=lifting)
    kernel = w.shape[: group.dimension]
    c_in, c_out = w.shape[-2:]
    table = bank_table(group, kernel, lifting)  # [taps, s, r] or [taps, r]
    bank = w.reshape(-1, c_in, c_out)[table]  # [taps, (s,) r, C_in, C_out]
    bank = jnp.moveaxis(bank, -3, -2)  # [taps, (s,) C_in, r, C_out]
    return bank.reshape(*kernel, -1, group.order * c_out)


def check_filter(w: jax.Array, *, group: FiniteGroup, lifting: bool) -> None:
    """ValueError unless ``w`` has the shape of a base filter of ``group``."""
    axes = ["*kernel", "C_in", "C_out"] if lifting else ["*kernel", "|G|", "C_in", "C_out"]
    layout = f"[{', '.join(axes)}] with {group.dimension} kernel axes"
    if w.ndim != group.dimension + len(axes) - 1:
        raise ValueError(f"`w` must be {layout} for {group!r}, got shape {w.shape}")
    if not lifting and w.shape[-3] != group.order:
        raise ValueError(
            f"`w` must be {layout} with a group axis of size {group.order} for {group!r}, got "
            f"shape {w.shape}"
        )


def move_axes(group: FiniteGroup, element: int) -> tuple[list[int], list[int]]:
    """The element as a move of array axes: ``(permutation, flipped)``.

    ``flip(transpose(a, permutation), flipped)`` is the array ``a`` moved by the element about its
    centre, exactly, for every size. ValueError if the group is not a symmetry of the lattice.
    """
    check_lattice(group)
    matrix = group.matrices[group.check_element(element)]
    permutation = [int(np.flatnonzero(row)[0]) for row in matrix]
    flipped = [axis for axis, row in enumerate(matrix) if row.sum() < 0]
    return permutation, flipped


def check_lattice(group: FiniteGroup) -> None:
    """ValueError unless the group moves the pixels of the square lattice onto pixels."""
    if not group.is_lattice:
        raise ValueError(
            f"`group` must map the square lattice onto itself, but {group!r} turns by angles "
            "other than multiples of 90 degrees; use a subgroup of dihedral(4), such as P4 or P4M"
        )


@functools.cache
def bank_table(group: FiniteGroup, kernel: tuple[int, ...], lifting: bool) -> np.ndarray:
    """Index into the flattened base filter for [tap, (input element,) output element]."""
    taps = np.arange(np.prod(kernel)).reshape(kernel)
    turned = []
    for r in group.elements:
        permutation, flipped = move_axes(group, r)
        moved = np.flip(taps.transpose(permutation), flipped)  # moved[x] = taps[r^-1 x]
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
    return table.astype(np.int32)  # the same with and without jax_enable_x64
