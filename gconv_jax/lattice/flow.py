"""Tangents of smooth moves: how an image begins to change when it is turned, shifted or scaled.

A generator X is the velocity of a move: of the point p, counted from the center of the image in
pixels (row, column), it is ``X p = A p + b``. The moves are ``exp(tX)``, and the moved image is
``[exp(tX) x](p) = x(exp(-tX) p)``, so that rotations are those of `gconv_jax.rotate`. The tangent
is its derivative at t = 0.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.groups.fields import Fields, multiply, require_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.sampling import centered
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.frozen import freeze_array

Generator = str | np.ndarray | Sequence[Sequence[float]]

GENERATORS = {
    name: freeze_array(np.array(matrix, np.float64))
    for name, matrix in {
        "rotation": [[0, -1, 0], [1, 0, 0]],
        "translation_rows": [[0, 0, 1], [0, 0, 0]],
        "translation_columns": [[0, 0, 0], [0, 0, 1]],
        "scaling": [[1, 0, 0], [0, 1, 0]],
        "shear_rows": [[0, 1, 0], [0, 0, 0]],
        "shear_columns": [[0, 0, 0], [1, 0, 0]],
    }.items()
}
"""The matrices ``[A | b]`` of the generators that have a name, on (row, column)."""

STENCIL = ((1, 8 / 12), (2, -1 / 12))
"""The central difference of fourth order: offsets in pixels and the weights of ``x(+) - x(-)``.

It is local, as the resampling of an image is, so that a border disturbs two pixels. The derivative
of a trigonometric interpolant would be exact for more frequencies, but ring from border to border.
It has no preferred side: bilinear interpolation has a kink at each pixel, at which one of two
derivatives would have to be chosen. It commutes with shifts by whole pixels, quarter turns and
convolutions, so that none of these seems to break the law. It is exact for polynomials of degree 4,
and too small by a share of ``w^4 / 30`` for waves of w radians per pixel."""


def affine_generator(generator: Generator) -> np.ndarray:
    """Return the matrix ``[A | b]`` of a generator, float64 ``[2, 3]``.

    Args:
        generator: a name in `GENERATORS`, or the matrix itself.

    >>> from gconv_jax.lattice.flow import affine_generator
    >>> affine_generator("rotation")
    array([[ 0., -1.,  0.],
           [ 1.,  0.,  0.]])
    """
    if isinstance(generator, str) and generator in GENERATORS:
        return GENERATORS[generator]
    allowed = f"`generator` must be one of {', '.join(GENERATORS)}, or a matrix [2, 3]"
    if isinstance(generator, str):
        raise ValueError(f"{allowed}, got {generator!r}")
    matrix = np.asarray(generator)
    if matrix.shape != (2, 3) or matrix.dtype.kind not in "iuf":
        raise ValueError(f"{allowed}, got shape {matrix.shape} of {matrix.dtype}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{allowed} of finite numbers, got {matrix.tolist()}")
    return matrix.astype(np.float64)


def move_tangent(
    x: jax.Array, generator: Generator = "rotation", *, fields: Fields | None = None
) -> jax.Array:
    """Return the velocity with which images change when they begin to move.

    It is the derivative of the moved image by t at t = 0 (Gruver et al. 2022, arXiv:2210.02984),
    ``d/dt x(exp(-tX) p) = -(X p) . grad x(p)``, with p counted from the center of the image. The
    gradient is a central difference of fourth order. Outside the image the values at its border go
    on. The result is linear in ``x`` and can be differentiated.

    Args:
        x: ``[*batch, H, W, C]``.
        generator: the velocity ``X p = A p + b`` of the move, in pixels: a matrix ``[A | b]`` of
            shape ``[2, 3]`` on (row, column), or a name. The names are ``"rotation"``, by a radian
            for each unit of t, counter-clockwise as displayed, as `gconv_jax.rotate`;
            ``"translation_rows"`` and ``"translation_columns"``, by a pixel down or to the right;
            ``"scaling"``, about the center by the factor ``exp(t)``; ``"shear_rows"`` and
            ``"shear_columns"``, in which one coordinate moves by t times the other.
        fields: which channels are vectors, whose components turn as well; for rotations and
            translations alone.

    Returns:
        ``[*batch, H, W, C]``, in the dtype of ``x`` if that is floating or complex, else float32.

    Raises:
        ValueError: the generator is unknown, or ``x`` is no image with these fields.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import move_tangent
    >>> ramp = jnp.broadcast_to(jnp.arange(7.0)[:, None, None], (7, 7, 1))  # brighter downwards
    >>> print(move_tangent(ramp, "rotation")[3, :, 0])  # dark comes from above to the left, ...
    [-3. -2. -1.  0.  1.  2.  3.]
    >>> print(move_tangent(ramp, "translation_rows")[3, :, 0])
    [-1. -1. -1. -1. -1. -1. -1.]
    """
    x = jnp.asarray(x)
    if x.ndim < 3:
        raise ValueError(f"`x` must be [*batch, H, W, C], got shape {x.shape}")
    matrix = affine_generator(generator)
    moved = advect(x, matrix, channel_axes=1)
    if fields is None:
        return moved
    require_fields(fields).check_channels(2, x.shape[-1], "C")
    return moved + turn_vectors(x.astype(moved.dtype), matrix, fields)


def advect(x: jax.Array, matrix: np.ndarray, *, channel_axes: int) -> jax.Array:
    """Return ``-(X p) . grad x(p)``, as `move_tangent` without fields.

    Args:
        x: an array whose two axes before the last ``channel_axes`` are space.
        matrix: the generator, as `affine_generator` returns it.
        channel_axes: the number of axes after space.
    """
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.dtype(jnp.float32)
    wide = accumulation_dtype(dtype)
    first = x.ndim - channel_axes - 2
    height, width = x.shape[first : first + 2]
    velocity = centered(height, width) @ matrix[:, :2].T + matrix[:, 2]
    values = x.astype(wide)
    moved = jnp.zeros_like(values)
    for i in range(2):
        if velocity[..., i].any():  # a translation needs one of the two derivatives
            speed = jnp.asarray(velocity[..., i], wide)
            speed = speed.reshape(height, width, *channel_axes * (1,))
            moved = moved - speed * _difference(values, first + i)
    return moved.astype(dtype)


def _difference(x: jax.Array, axis: int) -> jax.Array:
    """Return the derivative along an axis, in pixels."""
    reach, size = max(offset for offset, _ in STENCIL), x.shape[axis]
    widths = [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)]
    padded = jnp.pad(x, widths, mode="edge")

    def shifted(offset: int) -> jax.Array:
        start = reach + offset
        return lax.slice_in_dim(padded, start, start + size, axis=axis)

    slope = jnp.zeros_like(x)
    for offset, weight in STENCIL:
        slope = slope + weight * (shifted(offset) - shifted(-offset))
    return slope


def rotation_rate(matrix: np.ndarray) -> float:
    """Return the radians by which directions turn for each unit of t.

    ValueError if not all directions turn alike, as in a shear.

    >>> from gconv_jax.lattice.flow import affine_generator, rotation_rate
    >>> rotation_rate(affine_generator("rotation")), rotation_rate(affine_generator("scaling"))
    (1.0, 0.0)
    """
    (a, b), (c, d) = matrix[:, :2]
    if not np.allclose([a, b], [d, -c], rtol=0, atol=1e-12 * np.abs(matrix).max()):
        raise ValueError(
            f"`generator` must turn all directions alike where an array has orientations: it must "
            f"be of rotations, translations and scalings, got {matrix.tolist()}"
        )
    return float(c - b) / 2


def turn_vectors(x: jax.Array, matrix: np.ndarray, fields: Fields) -> jax.Array:
    """Return the derivative of ``rho(exp(tX)) x(p)``: vectors turn, and pixels stay.

    Args:
        x: images or logits ``[..., C]``.
        matrix: the generator; ValueError unless it is one of rotations and translations.
        fields: the fields that the channels are.
    """
    turn = matrix[:, :2]
    if not np.allclose(turn, -turn.T, rtol=0, atol=1e-12 * np.abs(matrix).max()):
        raise ValueError(
            f"`generator` must be of rotations and translations for {fields!r}, since lengths of "
            f"vectors are kept, got {matrix.tolist()}"
        )
    numbers, vectors = fields.scalars + fields.pseudoscalars, fields.vectors + fields.pseudovectors
    rho = np.zeros((x.shape[-1], x.shape[-1]))
    rho[numbers:, numbers:] = np.kron(np.eye(vectors), turn)
    return multiply("ij,...j->...i", rho, x)


def turn_orientations(x: jax.Array, matrix: np.ndarray, group: FiniteGroup | None) -> jax.Array:
    """Return the derivative of orientations that move along their axis, and not in space.

    A finite group has no small rotations. So the orientations of a group of n rotations are taken
    for n samples of a function of the angle, ``[exp(tX) y](h) = y(R(-wt) h)`` for a rotation by w
    radians for each unit of t, which is interpolated by trigonometric polynomials. At whole
    elements this is the permutation of the group. It is exact for features of angular frequencies
    below n / 2. The frequency n / 2 itself cannot turn: its tangent is 0.

    Args:
        x: ``[..., |G|, C]``.
        matrix: the generator, of rotations, translations and scalings.
        group: G, a group of the plane; None will do if directions do not turn.
    """
    rate = rotation_rate(matrix)
    if rate == 0:
        return jnp.zeros_like(x)
    if group is None or group.order != x.shape[-2]:
        raise ValueError(
            f"`group` must be the group whose {x.shape[-2]} elements the orientations of shape "
            f"{x.shape} are, got {group!r}"
        )
    return multiply("gh,...hc->...gc", rate * orientation_generator(group), x)


def orientation_generator(group: FiniteGroup) -> np.ndarray:
    """Return D with ``d/dt y(R(-t) h) = sum_k D[h, k] y(k)`` at t = 0, float64 ``[|G|, |G|]``.

    It is the derivative of the trigonometric interpolant, as `turn_orientations` says.

    >>> from gconv_jax import P4
    >>> from gconv_jax.lattice.flow import orientation_generator
    >>> print(orientation_generator(P4).round(3)[0] + 0)
    [ 0.  -0.5  0.   0.5]
    """
    if check_group(group).dimension != 2 or group.is_hexagonal:
        raise ValueError(
            f"`group` must be a group of the plane with square pixels for a smooth move, got "
            f"{group!r}"
        )
    rotations = [g for g in group.elements if np.linalg.det(group.matrices[g]) > 0]
    n, h = len(rotations), np.arange(group.order)
    matrix = np.zeros((group.order, group.order))
    for g in rotations:
        angle = np.arctan2(group.matrices[g][1, 0], group.matrices[g][0, 0])
        k = round(angle * n / (2 * np.pi)) % n
        if k == 0:
            continue
        # The derivatives at the samples of the polynomial that is 1 at one of them, 0 at others.
        slope = 1 / np.sin(np.pi * k / n) if n % 2 else 1 / np.tan(np.pi * k / n)
        matrix[h, group.cayley[group.inverse[g], h]] -= (-1) ** k * slope / 2
    return matrix
