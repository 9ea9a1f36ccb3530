"""The ways to tell attention where tokens are, such that the equivariance law holds.

Attention alone does not know where a token is. An embedding of absolute positions, as in an
ordinary transformer, breaks the law. Three ways keep it: rotary embeddings whose frequencies turn
with the element, biases of the scores that are shared by the orbits of offsets, and features of
absolute positions that turn about the center of the image.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import IrrepFeatures, check_features
from gconv_jax.lattice.action import transform
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.ops.accumulation import accumulation_dtype, as_floating
from gconv_jax.ops.arguments import check_integer, per_axis
from gconv_jax.ops.frozen import freeze_array


def token_positions(spatial: Sequence[int]) -> np.ndarray:
    """Return the positions of the pixels or patches of an image about its center: ``[T, d]``.

    >>> token_positions((2, 2))
    array([[-0.5, -0.5],
           [-0.5,  0.5],
           [ 0.5, -0.5],
           [ 0.5,  0.5]])
    """
    if not isinstance(spatial, Sequence):
        raise TypeError(f"`spatial` must be the sides of an image, such as (7, 7), got {spatial!r}")
    sides = [check_integer("spatial", n, least=1) for n in spatial]
    axes = [np.arange(n) - (n - 1) / 2 for n in sides]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def rotary_embedding(
    x: jax.Array, positions: jax.Array | np.ndarray, frequencies: jax.Array, *, group: FiniteGroup
) -> jax.Array:
    """Rotate pairs of channels by angles that depend on the position, for queries and keys.

    The pair c of the element h at position p is turned by ``w_c . h^-1 p``: the frequency w_c turns
    with the element. The scores of `group_attention` then depend on the offsets of tokens, also on
    their directions as every element sees them, and the law holds: ``(gh)^-1 (g p) = h^-1 p``. It
    is exact for all elements of the group; tokens need not be on a grid. Su et al. 2021
    (arXiv:2104.09864) have it for sequences, Heo et al. 2024 (arXiv:2403.13298) with learned
    frequencies for images.

    Args:
        x: queries or keys ``[*batch, T, |G|, C]``.
        positions: ``[T, d]`` or ``[*batch, T, d]`` in any units, such as `token_positions`; a
            common offset of all tokens does not change scores.
        frequencies: w, ``[heads, C / heads / 2, d]`` in radians for a unit of ``positions``
            (`rotary_frequencies`). Channel c of a head is paired with ``c + C / heads / 2``.
        group: any finite group of dimension d.

    Returns:
        ``[*batch, T, |G|, C]``.

    Raises:
        ValueError: shapes that do not fit.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, rotary_embedding, rotary_frequencies, token_positions
    >>> w = rotary_frequencies(jax.random.key(0), heads=2, pairs=3, dimension=2)
    >>> rotary_embedding(jnp.ones((1, 49, 4, 12)), token_positions((7, 7)), w, group=P4).shape
    (1, 49, 4, 12)
    """
    check_group(group)
    if isinstance(check_features(x, group), IrrepFeatures):
        raise TypeError("`x` must be an array, got IrrepFeatures: pass from_irreps(x)")
    x, positions, frequencies = map(jnp.asarray, (x, positions, frequencies))
    x = as_floating(x, "x")
    frequencies = as_floating(frequencies, "frequencies")
    heads, pairs, d = frequencies.shape if frequencies.ndim == 3 else (0, 0, 0)
    if d != group.dimension or x.shape[-1] != 2 * heads * pairs:
        raise ValueError(
            f"`frequencies` must be [heads, C / heads / 2, d={group.dimension}] for "
            f"C={x.shape[-1]} channels, got shape {frequencies.shape}"
        )
    batch = positions.shape[:-2]
    if (
        x.ndim < 3
        or positions.ndim < 2
        or positions.shape[-2:] != (x.shape[-3], d)
        or batch not in ((), x.shape[:-3])
    ):
        raise ValueError(
            f"`positions` must be [T, d={d}] or [*batch, T, d={d}] with the tokens of `x` of shape "
            f"{x.shape}, got shape {positions.shape}"
        )
    long = accumulation_dtype(x.dtype)
    turned = jnp.asarray(group.matrices[group.inverse], long)
    precision = jax.lax.Precision.HIGHEST
    seen = jnp.einsum("hij,...tj->...thi", turned, positions.astype(long), precision=precision)
    angles = jnp.einsum("...thi,nci->...thnc", seen, frequencies.astype(long), precision=precision)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x.astype(long).reshape(*x.shape[:-1], heads, 2 * pairs), 2, -1)
    y = jnp.concatenate([first * cos - second * sin, first * sin + second * cos], -1)
    return y.reshape(x.shape).astype(x.dtype)


def rotary_frequencies(
    key: jax.Array,
    *,
    heads: int,
    pairs: int,
    dimension: int,
    longest: float = 100.0,
    dtype: DTypeLike = float,
) -> jax.Array:
    """Return frequencies for `rotary_embedding`: ``[heads, pairs, dimension]``.

    Their directions are random. Their sizes are ``longest^(-c / pairs)``, from one radian for a
    token downwards, as in Heo et al. 2024 (arXiv:2403.13298).

    >>> import jax
    >>> w = rotary_frequencies(jax.random.key(0), heads=3, pairs=4, dimension=2)
    >>> w.shape, round(float(abs(w[0, 0] ** 2).sum()), 3)
    ((3, 4, 2), 1.0)
    """
    heads, pairs = check_integer("heads", heads, least=1), check_integer("pairs", pairs, least=1)
    check_integer("dimension", dimension, least=1)
    if longest < 1:
        raise ValueError(f"`longest` must be at least 1, got {longest}")
    directions = jax.random.normal(key, (heads, pairs, dimension), dtype)
    directions = directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)
    sizes = longest ** -(np.arange(pairs) / pairs)
    return directions * jnp.asarray(sizes, directions.dtype)[:, None]


def position_features(table: jax.Array, *, group: FiniteGroup) -> jax.Array:
    """Return features of absolute positions that obey the law, to be added to a feature map.

    ``p(x, h) = q(h^-1 x)`` for the learned table q, so that ``p(gx, gh) = p(x, h)``: the features
    turn about the center of the image. They break the equivariance to translations.

    Args:
        table: q, ``[*spatial, C]``; square where elements exchange axes.
        group: one that maps the lattice onto itself.

    Returns:
        ``[*spatial, |G|, C]``.

    Raises:
        ValueError: the group does not map the lattice onto itself, or it turns the table into one
            of another shape.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, position_features
    >>> position_features(jnp.ones((14, 14, 24)), group=P4M).shape
    (14, 14, 8, 24)
    """
    _check_lattice(group, "position_features")
    table = jnp.asarray(table)
    if table.ndim != group.dimension + 1:
        raise ValueError(f"`table` must be [*spatial, C] for {group!r}, got shape {table.shape}")
    turned = [transform(table, group=group, element=int(h), lifted=False) for h in group.elements]
    if any(q.shape != table.shape for q in turned):
        raise ValueError(
            f"`table` must be square for {group!r}, which exchanges its axes, got shape "
            f"{table.shape}"
        )
    return jnp.stack(turned, -2)


def relative_position_bias(
    table: jax.Array, spatial: Sequence[int], *, group: FiniteGroup
) -> jax.Array:
    """Return a bias of attention scores for each pair of tokens, shared by the orbits of offsets.

    ``bias[head, t, s] = table[orbit(p_s - p_t), head]``, where offsets that an element of the group
    maps onto each other are one orbit, so that it does not change when the image is moved.

    Args:
        table: ``[orbits, heads]``, as many orbits as `count_orbits` says.
        spatial: the sides of the image in tokens.
        group: one that maps the lattice onto itself.

    Returns:
        ``[heads, T, T]``.

    Raises:
        ValueError: the table has other orbits, or the group does not map the lattice onto itself.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, count_orbits, relative_position_bias
    >>> orbits = count_orbits((14, 14), group=P4M)
    >>> orbits, relative_position_bias(jnp.ones((orbits, 3)), (14, 14), group=P4M).shape
    (105, (3, 196, 196))
    """
    _check_lattice(group, "relative_position_bias")
    spatial = per_axis(spatial, group.dimension, "spatial")
    index, orbits = _offset_orbits(spatial, group)
    table = jnp.asarray(table)
    if table.ndim != 2 or len(table) != orbits:
        raise ValueError(
            f"`table` must be [orbits={orbits}, heads] for {spatial} tokens and {group!r}, "
            f"got shape {table.shape}"
        )
    return table.T[:, index]


def count_orbits(spatial: Sequence[int], *, group: FiniteGroup) -> int:
    """Return the number of orbits of the offsets between the tokens of an image.

    >>> from gconv_jax import P4M, Z2, count_orbits
    >>> count_orbits((3, 3), group=Z2), count_orbits((3, 3), group=P4M)
    (25, 6)
    """
    _check_lattice(group, "count_orbits")
    return _offset_orbits(per_axis(spatial, group.dimension, "spatial"), group)[1]


def _check_lattice(group: FiniteGroup, caller: str) -> FiniteGroup:
    if not check_group(group).is_lattice:
        raise ValueError(
            f"`group` must map the lattice onto itself for {caller}, got {group!r}: use "
            "rotary_embedding"
        )
    return refuse_hexagons(group, caller)


@functools.lru_cache(maxsize=64)
def _offset_orbits(spatial: tuple[int, ...], group: FiniteGroup) -> tuple[np.ndarray, int]:
    """Return the orbit of the offset of each pair of tokens, ``[T, T]``, and their number."""
    tokens = np.stack(np.unravel_index(np.arange(math.prod(spatial)), spatial), -1)
    offsets = tokens[None] - tokens[:, None]  # [t, s]: p_s - p_t
    moved = np.rint(np.einsum("hij,tsj->htsi", group.matrices, offsets)).astype(int)
    base = max(spatial)  # more than any component
    numbers = (moved + base) @ (2 * base + 1) ** np.arange(len(spatial))
    names, index = np.unique(numbers.max(0), return_inverse=True)
    return freeze_array(index.reshape(len(tokens), -1)), len(names)
