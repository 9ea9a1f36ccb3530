"""The move of arrays by an element of a group, which may be known only when a program runs."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.fields import Fields, multiply
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.lattice.action import move_axes, transform
from gconv_jax.lattice.hexagons import mask_of, move_table
from gconv_jax.lattice.rotate import rotate
from gconv_jax.ops.frozen import freeze_array


@dataclass(frozen=True, eq=False)
class ElementMove:
    """The left action of an element on images, feature maps and vectors.

    Elements that map the lattice onto itself move pixels exactly. Others turn images with bilinear
    interpolation (`rotate`).
    """

    group: FiniteGroup
    element: int | jax.Array
    """The index of the element; a traced scalar needs images whose sides the group does not
    exchange, or equal ones."""
    fill: jax.Array | float = 0.0
    """The value outside the image where it is interpolated."""

    @property
    def inverse(self) -> "ElementMove":
        """The move by the inverse element."""
        table = self.group.inverse
        element = int(table[self.element]) if self._known else jnp.asarray(table)[self.element]
        return ElementMove(self.group, element, self.fill)

    def image(self, x: jax.Array) -> jax.Array:
        """Return an image ``[..., *spatial, C]``, moved."""
        return self._move(x, 1)

    def feature_map(self, x: jax.Array) -> jax.Array:
        """Return a feature map ``[..., *spatial, |G|, C]``, moved."""
        return self.permute(self._move(x, 2))

    def permute(self, x: jax.Array) -> jax.Array:
        """Return ``[..., |G|, C]`` with its orientations permuted."""
        source = self.group.cayley[self.group.inverse]  # [g, h]: g^-1 h
        return x[..., self._pick(source), :]

    def turn(self, x: jax.Array, fields: Fields) -> jax.Array:
        """Return ``[..., C]`` with the vectors turned, at the same places."""
        rho = fields.matrices(self.group)
        if self._known:
            return multiply("ij,...j->...i", rho[self.element], x)
        all_turned = multiply("gij,...j->g...i", rho, x)
        return all_turned[self.element]

    @property
    def _known(self) -> bool:
        return isinstance(self.element, int | np.integer)

    def _pick(self, table: np.ndarray) -> np.ndarray | jax.Array:
        """Return the row of a table that belongs to the element."""
        return table[self.element] if self._known else jnp.asarray(table)[self.element]

    def _move(self, x: jax.Array, channel_axes: int) -> jax.Array:
        first = x.ndim - channel_axes - self.group.dimension
        spatial = x.shape[first : first + self.group.dimension]
        channels = math.prod(x.shape[x.ndim - channel_axes :])
        if self._known and self.group.isometries[self.element].is_lattice:  # pyright: ignore[reportArgumentType, reportCallIssue]
            flat = x.reshape(*x.shape[: first + self.group.dimension], channels)
            moved = transform(flat, group=self.group, element=int(self.element), lifted=False)
            spatial = moved.shape[first : first + self.group.dimension]
            return moved.reshape(*x.shape[:first], *spatial, *x.shape[x.ndim - channel_axes :])
        if self.group.is_hexagonal or all(i.is_lattice for i in self.group.isometries):
            table = self._pick(pixel_table(self.group, spatial))
            pixels = math.prod(spatial)
            flat = x.reshape(*x.shape[:first], pixels, *x.shape[x.ndim - channel_axes :])
            moved = jnp.take(flat, table, axis=first).reshape(x.shape)
            return moved * mask_of(x, channel_axes) if self.group.is_hexagonal else moved
        if len(set(spatial)) > 1:
            raise ValueError(
                f"`x` must have equal sides, since elements of {self.group!r} exchange them, got "
                f"sides {spatial}: pad or crop the images"
            )
        flat = x.reshape(*x.shape[: first + 2], channels)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            flat = flat.astype(jnp.float32)
        mirrored, angles = _turns(self.group)
        if mirrored.any():
            flat = jnp.where(self._pick(mirrored), jnp.flip(flat, -2), flat)
        moved = rotate(flat, jnp.asarray(self._pick(angles)), fill=self.fill).reshape(x.shape)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            moved = jnp.round(moved)  # to the nearest integer, not to zero
        return moved.astype(x.dtype)


@functools.cache
def pixel_table(group: FiniteGroup, spatial: tuple[int, ...]) -> np.ndarray:
    """Return, for each element and pixel of the moved image, the pixel that it takes.

    Returns:
        Integers ``[|G|, pixels]``, read-only; on hexagonal lattices a pixel from outside the image
        is 0, and must be masked.

    Raises:
        ValueError: an element exchanges sides of different lengths.
    """
    if group.is_hexagonal:
        rows = [np.maximum(move_table(m, spatial[0]), 0).ravel() for m in group.matrices]
        return freeze_array(np.stack(rows))
    index, rows = np.arange(np.prod(spatial)).reshape(spatial), []
    for g in group.elements:
        permutation, flipped = move_axes(group, g)
        moved = np.flip(np.transpose(index, permutation), tuple(flipped))
        if moved.shape != spatial:
            raise ValueError(
                f"`x` must have equal sides, since {group.element_name(g)} of {group!r} exchanges "
                f"them, got sides {spatial}: pad or crop the images"
            )
        rows.append(moved.ravel())
    return freeze_array(np.stack(rows))


@functools.cache
def _turns(group: FiniteGroup) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each element mirrors columns first, and the angle by which it turns then."""
    if group.dimension != 2:
        raise ValueError(f"`group` must map the cubic lattice onto itself, got {group!r}")
    mirrored = np.linalg.det(group.matrices) < 0
    turns = np.where(mirrored[:, None, None], group.matrices @ np.diag([1.0, -1.0]), group.matrices)
    return freeze_array(mirrored), freeze_array(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
