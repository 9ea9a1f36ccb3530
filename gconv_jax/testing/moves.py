"""Transforms of images and feature maps by which `gconv_jax.testing` checks the equivariance law.

They are the elements of a group, or rotations by any angle. Elements that map the pixels onto
pixels move them exactly. Others resample, which is accurate for images that are smooth and vanish
outside the disc that fits into them, such as `smooth_images`. Only that disc is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.lattice.action import transform
from gconv_jax.lattice.sampling import centered

# The order of the spline: with 5, a turn of `smooth_images` by 45 degrees is off by about 1e-4.
SPLINE_ORDER = 5


@dataclass(frozen=True, eq=False)
class InputTransform:
    """A rotation or reflection of the input, with a norm for the difference of two results."""

    name: str
    group: FiniteGroup
    matrix: np.ndarray
    element: int | None
    """The index of the element; None for an angle that is not one of the group."""
    exact: bool

    def image(self, x: jax.Array) -> jax.Array:
        """Return an image ``[..., H, W, C]``, moved."""
        if self.exact:
            return transform(x, group=self.group, element=self.element, lifted=False)  # pyright: ignore[reportArgumentType]
        return resample(x, self.matrix, channel_axes=1)

    def feature_map(self, x: jax.Array) -> jax.Array:
        """Return a feature map ``[..., H, W, |G|, C]``, moved.

        ValueError if the transform is not an element of the group.
        """
        if self.exact:
            return transform(x, group=self.group, element=self.element, lifted=True)  # pyright: ignore[reportArgumentType]
        return self.permute(resample(x, self.matrix, channel_axes=2))

    def permute(self, x: jax.Array) -> jax.Array:
        """Return ``[..., |G|, C]`` with its orientations permuted; ValueError as `feature_map`."""
        if self.element is None:
            raise ValueError(f"{self.name} does not permute the orientations of {self.group!r}")
        return x[..., self.group.cayley[self.group.inverse[self.element]], :]

    def turn(self, x: jax.Array, fields: Fields) -> jax.Array:
        """Return ``[..., C]`` with the vectors turned, at the same places."""
        return fields.turn(x, self.matrix)

    def size(self, y: np.ndarray, channel_axes: int | None) -> float:
        """Return the size of ``y`` by the norm in which `distance` measures.

        It is the largest value for exact moves, else the root mean square over the disc.

        Args:
            y: values.
            channel_axes: the number of axes that follow space; None if there is no space.
        """
        y = np.asarray(y, np.complex128 if np.iscomplexobj(y) else np.float64)
        if self.exact:
            return float(np.max(np.abs(y), initial=0.0))
        if channel_axes is not None:
            first = y.ndim - channel_axes - 2
            inside = _disc(y.shape[first : first + 2])
            y = y.reshape(-1, *inside.shape, *y.shape[first + 2 :])[:, inside]
        return float(np.sqrt(np.mean(np.abs(y) ** 2))) if y.size else 0.0

    def distance(self, a: jax.Array, b: jax.Array, channel_axes: int | None) -> float:
        """Return the `size` of ``a - b``; infinity if the shapes differ."""
        if a.shape != b.shape:
            return np.inf
        p, q = (np.asarray(v, np.complex128 if jnp.iscomplexobj(v) else np.float64) for v in (a, b))
        return self.size(p - q, channel_axes)


def input_transforms(
    group: FiniteGroup, angles: Sequence[float] | None = None
) -> list[InputTransform]:
    """Return the elements of ``group``, or rotations of the plane by ``angles`` in radians."""
    if angles is None:
        return [
            InputTransform(
                group.element_name(g),
                group,
                group.matrices[g],
                g,
                group.isometries[g].is_lattice,
            )
            for g in group.elements
        ]
    turns = np.asarray(angles, np.float64)
    # Angles that belong to the group become its elements, which move feature maps as well.
    rotations = {g: r for g, r in enumerate(group.isometries) if not r.mirrored}
    if group.dimension != 2 or turns.ndim != 1 or not len(turns):
        raise ValueError(
            f"`angles` must be a sequence of angles in radians for a group of the plane, got shape "
            f"{turns.shape} for {group!r}"
        )
    moves = []
    for angle in turns.tolist():
        name = f"{np.degrees(angle):.4g}°"
        turn = angle / (2 * np.pi)
        same = [g for g, r in rotations.items() if abs((turn - r.turn + 0.5) % 1 - 0.5) < 1e-9]  # pyright: ignore[reportAttributeAccessIssue]
        if same:
            exact = rotations[same[0]].is_lattice
            moves.append(InputTransform(name, group, group.matrices[same[0]], same[0], exact))
        else:
            c, s = np.cos(angle), np.sin(angle)
            moves.append(InputTransform(name, group, np.array([[c, -s], [s, c]]), None, False))
    return moves


def resample(x: jax.Array, matrix: np.ndarray, *, channel_axes: int) -> jax.Array:
    """Return ``y(p) = x(matrix^-1 p)`` about the center, interpolated by a spline.

    Points outside the image give 0. Space is the two axes before the last ``channel_axes``.
    """
    from scipy import ndimage  # an import of a third of a second

    x = jnp.asarray(x)
    if jnp.iscomplexobj(x):
        parts = [resample(part, matrix, channel_axes=channel_axes) for part in (x.real, x.imag)]
        return parts[0] + 1j * parts[1]
    values = np.asarray(x, np.float64)
    first = values.ndim - channel_axes - 2
    values = np.moveaxis(values, (first, first + 1), (-2, -1))
    height, width = values.shape[-2:]
    # Rows are points, and the inverse of an isometry is its transpose.
    source = centered(height, width) @ matrix + (np.array([height, width]) - 1) / 2
    source = np.moveaxis(source, -1, 0)
    turned = [
        ndimage.map_coordinates(plane, source, order=SPLINE_ORDER, mode="constant")
        for plane in values.reshape(-1, height, width)
    ]
    turned = np.reshape(turned, values.shape)
    turned = np.moveaxis(turned, (-2, -1), (first, first + 1))
    # Values between integers are no integers.
    return jnp.asarray(turned, x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32)


def smooth_images(shape: Sequence[int], *, seed: int = 0, length: float = 3.0) -> np.ndarray:
    """Return random images that can be turned by any angle with little error.

    They are smooth and vanish outside the disc: white noise, blurred by a Gaussian, times a bump.

    Args:
        shape: the shape ``(N, H, W, C)``.
        seed: the seed of the noise.
        length: the standard deviation of the blur in pixels; frequencies above about
            ``2 / length`` radians per pixel are absent.

    Returns:
        float64, with values of about unit variance in the center.

    >>> from gconv_jax.testing import smooth_images
    >>> smooth_images((2, 33, 33, 1)).shape
    (2, 33, 33, 1)
    """
    from scipy import ndimage

    if len(shape) != 4 or min(shape[1:3]) < 3:
        raise ValueError(f"`shape` must be (N, H, W, C) of at least 3 x 3 pixels, got {shape}")
    noise = np.random.default_rng(seed).normal(size=shape)
    blurred = ndimage.gaussian_filter(noise, (0, length, length, 0), mode="wrap")
    radius = np.hypot(*np.moveaxis(centered(*shape[1:3]), -1, 0)) / ((min(shape[1:3]) - 1) / 2)
    bump = np.where(radius < 1, np.cos(np.pi / 2 * radius) ** 2, 0)[..., None]
    return blurred * bump * (2 * np.sqrt(np.pi) * length)


def _disc(spatial: tuple[int, int]) -> np.ndarray:
    """Return the mask of the pixels in the disc that fits into the image."""
    return (centered(*spatial) ** 2).sum(-1) <= (min(spatial) / 2) ** 2
