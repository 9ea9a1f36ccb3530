"""Images turned by any angle: quarter turns exactly, and corners in the color of the border."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax import FiniteGroup, rotate
from gconv_jax.groups.elements import PlanarIsometry

from .turned_volumes import CubeTurn, cube_turns, turned_volume


class Turn(NamedTuple):
    """A mirroring of left and right if ``mirrored``, then a rotation, counter-clockwise."""

    degrees: float
    mirrored: bool = False

    @property
    def is_exact(self) -> bool:
        """Return whether it moves pixels onto pixels."""
        return self.degrees % 90 == 0

    @property
    def name(self) -> str:
        """The name of the group element that does the same."""
        degrees = self.degrees % 360
        names = [f"r{degrees:g}"] * bool(degrees) + ["m"] * self.mirrored
        return "·".join(names) or "e"

    @property
    def matrix(self) -> np.ndarray:
        """The matrix ``[2, 2]`` on (row, column), counted from the center."""
        return rotation_matrix(np.deg2rad(self.degrees)) * (1, -1 if self.mirrored else 1)


def rotation_matrix(angle: Any) -> Any:
    """Return the rotations by angles ``[...]`` in radians, counter-clockwise as displayed, on (row,
    column): ``[..., 2, 2]``. Arrays of JAX or of NumPy, which is exact for quarter turns."""
    xp = jnp if isinstance(angle, jax.Array) else np
    cos, sin = xp.cos(angle), xp.sin(angle)
    if xp is np:
        cos, sin = (np.where(np.abs(part) < 1e-15, 0.0, part) for part in (cos, sin))
    return xp.stack([xp.stack([cos, -sin], -1), xp.stack([sin, cos], -1)], -2)


def turns_of(group: FiniteGroup) -> Sequence[Turn | CubeTurn]:
    """The elements of a group of the plane, or of the cube."""
    if group.dimension == 3:
        return cube_turns(group)
    isometries = [g for g in group.isometries if isinstance(g, PlanarIsometry)]
    return [Turn(360 * float(g.turn), g.mirrored) for g in isometries]


def ground(image: jax.Array) -> jax.Array:
    """The ground of each image: the median of its border, for each channel.

    It is what an image file is padded with when it is read. Digits have a black border, and so
    their ground is black.

    Args:
        image: ``[*batch, H, W, C]``, of floating-point numbers.

    Returns:
        ``[*batch, 1, 1, C]``.
    """
    lines = [image[..., 0, :, :], image[..., -1, :, :], image[..., 0, :], image[..., -1, :]]
    return jnp.median(jnp.concatenate(lines, -2), -2)[..., None, None, :]


def turned(image: np.ndarray, turn: Turn | CubeTurn) -> np.ndarray:
    """Square images ``[*batch, n, n, C]`` of floating-point numbers, moved; or cubes.

    Multiples of 90 degrees and mirrorings are exact. The rest of the angle, below 90 degrees, is
    bilinear interpolation, and corners that come from outside the image have its `ground`.
    """
    if isinstance(turn, CubeTurn):
        return turned_volume(image, turn)
    quarters, rest = divmod(turn.degrees, 90)
    if turn.mirrored:
        image = image[..., ::-1, :]
    if rest:
        image = np.asarray(_rotated(image, np.float32(np.deg2rad(rest))))
    return np.rot90(image, int(quarters), (-3, -2))


@jax.jit
def _rotated(image: jax.Array, angle: jax.Array) -> jax.Array:
    return rotate(image, angle, fill=ground(image))


def in_batches(images: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The images of all arrays ``[N, ...]`` in batches of one size; the last one may be smaller."""
    held: Sequence[np.ndarray] = ()
    for some in images:
        held = [*held, some]
        while sum(map(len, held)) >= size:
            whole = np.concatenate(held)
            yield whole[:size]
            held = [whole[size:]]
    rest = np.concatenate(held) if held else np.empty(0)
    if len(rest):
        yield rest
