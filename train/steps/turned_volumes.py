"""Volumes moved by the symmetries of the cube, which map voxels onto voxels: all is exact."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax import FiniteGroup, octahedral, rotations_about
from gconv_jax.groups.elements import SignedPermutation

AXES = ("depth", "height", "width")
QUARTERS = (0, 90, 180, 270)


class CubeTurn(NamedTuple):
    """A symmetry of the cube, for volumes."""

    isometry: SignedPermutation

    @property
    def name(self) -> str:
        """The name of the group element, which says where a point goes: ``(d,-w,h)``."""
        return str(self.isometry)

    @property
    def matrix(self) -> np.ndarray:
        """The matrix ``[3, 3]`` on (depth, row, column), counted from the center."""
        return self.isometry.matrix(3)


def cube_turns(group: FiniteGroup) -> list[CubeTurn]:
    """The elements of a group of the cube."""
    return [CubeTurn(g) for g in group.isometries if isinstance(g, SignedPermutation)]


def quarter_turns(axis: int) -> list[CubeTurn]:
    """The turns by 0, 90, 180 and 270 degrees about an axis."""
    group, turns = rotations_about(axis), []
    element = group.identity
    for _ in QUARTERS:
        turns.append(cube_turns(group)[element])
        element = int(group.cayley[1, element])
    return turns


def turned_volume(volume: np.ndarray, turn: CubeTurn) -> np.ndarray:
    """Cubes ``[*batch, n, n, n, C]``, moved."""
    first = volume.ndim - 4
    order = (*range(first), *(first + axis for axis in turn.isometry.axes), volume.ndim - 1)
    backwards = tuple(first + i for i, sign in enumerate(turn.isometry.signs) if sign < 0)
    return np.flip(volume.transpose(order), backwards)


def turned_at_random(volume: jax.Array, key: jax.Array) -> jax.Array:
    """A cube ``[n, n, n, C]``, moved by a random one of the 24 rotations."""
    side = volume.shape[0]
    matrix = random_rotation(key).T  # its inverse, by which each voxel is looked up
    places = 2 * jnp.indices((side,) * 3, jnp.int32) - (side - 1)  # from the center, doubled
    source = (jnp.einsum("ij,jdhw->idhw", matrix, places) + side - 1) // 2
    return volume[tuple(source)]


def random_rotation(key: jax.Array) -> jax.Array:
    """The matrix ``[3, 3]`` of the rotation by which `turned_at_random` moves a cube."""
    element = jax.random.randint(key, (), 0, octahedral().order)
    # The inverse of a rotation is as likely as the rotation itself.
    return jnp.asarray(octahedral().matrices, jnp.int32)[element].T
