"""The left action of a group on images and feature maps, and on the axes of arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.fields import Fields, check_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import (
    IrrepFeatures,
    SameFeatures,
    check_features,
    from_irreps,
    to_irreps,
)
from gconv_jax.lattice.hexagons import mask_of, move_table
from gconv_jax.ops.arguments import spatial_axes


def transform(
    x: SameFeatures,
    *,
    group: FiniteGroup,
    element: int | str,
    lifted: bool,
    subgroup: FiniteGroup | None = None,
    fields: Fields | None = None,
) -> SameFeatures:
    """Return ``L_g x``, the left action of a group element, which is exact on the lattice.

    ``[L_g f](p) = f(g^-1 p)`` on images and ``[L_g f](p, h) = f(g^-1 p, g^-1 h)`` on feature maps:
    space turns, and the orientations are permuted as well (Cohen & Welling 2016,
    arXiv:1602.07576, section 4). Pixels move about the center of the image; a quarter turn of an
    H x W image is W x H. On hexagonal lattices, pixels outside the hexagon become zero.

    Args:
        x: images ``[*batch, *spatial, C]``, or feature maps ``[*batch, *spatial, |G|, C]`` if
            ``lifted``, or ``[*batch, *spatial, |G| / |H|, C]`` with a ``subgroup``, or
            `IrrepFeatures` of feature maps.
        group: any group.
        element: the index of g, or its name as the checks print it (``"r90"``,
            `FiniteGroup.element_name`). g must map the lattice onto itself; for other angles use
            `rotate`.
        lifted: whether ``x`` has a group axis.
        subgroup: H, for quotient fields on the left cosets G/H, such as `coset_pool` returns.
        fields: what the channels of an image are. Those of vectors are turned as well,
            ``[L_g f](p) = rho(g) f(g^-1 p)``; by default all channels are numbers.

    Returns:
        The transformed ``x``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> x = jnp.arange(4.0).reshape(2, 2, 1)
    >>> transform(x, group=P4, element=1, lifted=False)[..., 0]
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """
    check_group(group)
    if subgroup is not None and not lifted:
        raise ValueError(
            "`lifted` must be True with a `subgroup`, since fields on cosets have a group axis"
        )
    if fields is not None and lifted:
        raise ValueError("`fields` must be None for a feature map, whose channels are numbers")
    if isinstance(x, IrrepFeatures):
        if not lifted or subgroup is not None:
            raise ValueError("`lifted` must be True for IrrepFeatures, and `subgroup` None")
        check_features(x, group)
        y = transform(from_irreps(x), group=group, element=element, lifted=True)
        return to_irreps(y, group=group)
    x = jnp.asarray(x)
    first = x.ndim - group.dimension - (2 if lifted else 1)
    cosets = group.elements if subgroup is None else group.cosets(subgroup)
    if first < 0 or (lifted and x.shape[-2] != len(cosets)):
        group_axis = f"{len(cosets)}, " if lifted else ""
        raise ValueError(
            f"`x` must be [*batch, {', '.join(spatial_axes(group.dimension))}, {group_axis}C] for "
            f"{group!r} and lifted={lifted}, got shape {x.shape}"
        )
    if fields is not None:
        check_fields(fields, group, x.shape[-1])
    element = group.check_element(element)
    batch, channels = range(first), range(first + group.dimension, x.ndim)
    if group.is_hexagonal:
        x = _move_hexagons(x, group.matrices[element], len(channels))
    else:
        permutation, flipped = move_axes(group, element)
        x = jnp.transpose(x, (*batch, *(first + p for p in permutation), *channels))
        x = jnp.flip(x, tuple(first + axis for axis in flipped))
    if not lifted:
        return x if fields is None else fields.turn(x, group.matrices[element])
    source = group.cayley[group.inverse[element]]  # source[h] = g^-1 h
    if subgroup is not None:
        table = group.cosets(subgroup).tolist()
        coset_of = {h: i for i, coset in enumerate(table) for h in coset}
        source = jnp.array([coset_of[int(source[coset[0]])] for coset in table])
    return x[..., source, :]


def _move_hexagons(x: jax.Array, matrix: np.ndarray, channel_axes: int) -> jax.Array:
    """Return ``x`` with the pixels of the hexagon moved by ``matrix``, and zeros outside."""
    mask = mask_of(x, channel_axes)
    batch, channels = x.shape[: -2 - channel_axes], x.shape[x.ndim - channel_axes :]
    source = move_table(matrix, len(mask)).ravel()
    moved = jnp.take(x.reshape(*batch, -1, *channels), np.maximum(source, 0), axis=len(batch))
    return moved.reshape(x.shape) * mask


def move_axes(group: FiniteGroup, element: int) -> tuple[list[int], list[int]]:
    """Return the element as a move of array axes: ``(permutation, flipped)``.

    ``flip(transpose(a, permutation), flipped)`` is the array ``a`` moved by the element about its
    center, exactly, for every size. ValueError if it does not move pixels onto pixels.
    """
    element = group.check_element(element)
    if not group.isometries[element].is_lattice:
        raise ValueError(
            f"`group` must map the square lattice onto itself, but {group!r} turns by angles "
            f"other than multiples of 90 degrees: `element` {element} is "
            f"{group.element_name(element)}. Use a subgroup of dihedral(4), such as P4 or P4M, or "
            'filters="harmonic" where there is that argument (LiftConv, GroupConv, '
            "GroupEquivariantCNN, E2CNN); images turn by any angle with `rotate`"
        )
    matrix = np.rint(group.matrices[element])
    permutation = [int(np.flatnonzero(row)[0]) for row in matrix]
    flipped = [axis for axis, row in enumerate(matrix) if row.sum() < 0]
    return permutation, flipped
