"""Checks and masks of hexagonal lattices, and how a group moves their pixels."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.lattice.padding import Windows
from gconv_jax.ops.arguments import check_integer
from gconv_jax.ops.frozen import freeze_array


def hexagon_mask(size: int) -> np.ndarray:
    """Return the pixels of a ``size`` x ``size`` array in the hexagon: bool, read-only.

    >>> hexagon_mask(3).astype(int)
    array([[0, 1, 1],
           [1, 1, 1],
           [1, 1, 0]])
    """
    if check_integer("size", size) < 1 or size % 2 == 0:
        raise ValueError(f"`size` of a hexagon must be odd, so that it has a center, got {size}")
    return _mask(int(size))


def hexagon_size(taps: int) -> int:
    """Return the size of the hexagonal filter with so many taps; ValueError if there is none."""
    radius = 0
    while 3 * radius * (radius + 1) + 1 < taps:
        radius += 1
    if 3 * radius * (radius + 1) + 1 != taps:
        raise ValueError(f"`w` must begin with 1, 7, 19, 37 ... taps of a hexagon, got {taps}")
    return 2 * radius + 1


def mask_of(x: jax.Array, channel_axes: int) -> jax.Array:
    """Return the mask of the pixels of ``x``, with ``channel_axes`` axes of size 1 after space.

    ValueError unless ``x`` has as many rows as columns, and an odd number.
    """
    height, width = x.shape[-2 - channel_axes : -channel_axes]
    if height != width or height % 2 == 0:
        raise ValueError(
            "`x` must have as many rows as columns, and an odd number, for a hexagonal lattice, "
            f"got shape {x.shape}; see gconv_jax.hexagonal"
        )
    mask = _mask(height).reshape(height, width, *[1] * channel_axes)
    return jnp.asarray(mask, jnp.result_type(x))


def check_hexagons(windows: Windows, output: Sequence[int]) -> None:
    """Raise ValueError unless windows with these settings make a hexagon of hexagons."""
    if windows.padding in ("CIRCULAR", "REFLECT"):
        raise ValueError(
            f"`padding` must be zeros on a hexagonal lattice, whose border is no square, got "
            f"{windows.padding!r}"
        )
    if len(set(windows.size)) > 1 or len(set(windows.strides)) > 1:
        raise ValueError(
            f"`strides` and window sizes must be equal on both axes of a hexagonal lattice, got "
            f"windows {windows.size} and strides {windows.strides}"
        )
    if any(n % 2 == 0 for n in output):
        raise ValueError(
            f"`x` must leave an odd number of pixels for a hexagon, got {tuple(output)}; with "
            f"strides {windows.strides}, take two pixels more or less"
        )


def refuse_hexagons(group: FiniteGroup, caller: str) -> FiniteGroup:
    """Return the group; ValueError if its lattice is hexagonal."""
    if group.is_hexagonal:
        raise ValueError(f"`group` must act on square pixels or voxels for {caller}, got {group!r}")
    return group


def move_table(matrix: np.ndarray, size: int) -> np.ndarray:
    """Return the flat index of ``matrix^-1 p`` for each pixel p of the hexagon, -1 elsewhere."""
    center = (size - 1) // 2
    inverse = np.rint(np.linalg.inv(matrix)).astype(np.int64)
    source = (np.moveaxis(np.indices((size, size)), 0, -1) - center) @ inverse.T + center
    flat = source[..., 0] * size + source[..., 1]
    return np.where(_mask(size), flat, -1)


@functools.cache
def _mask(size: int) -> np.ndarray:
    row, column = np.indices((size, size)) - (size - 1) // 2
    return freeze_array(np.abs(row + column) <= (size - 1) // 2)
