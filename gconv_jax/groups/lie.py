"""The continuous groups of the plane, SO(2) and O(2): exp, log, product, inverse, sampling.

An element is its matrix, as in `FiniteGroup.matrices`: rotations of array indices counted from the
center, counter-clockwise as displayed. An angle jumps from 2 pi to 0, a matrix does
not, so functions of matrices are periodic without further care.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from gconv_jax.groups.finite import P4, P4M, FiniteGroup, cyclic, dihedral
from gconv_jax.ops.arguments import check_integer

_HIGHEST = jax.lax.Precision.HIGHEST


@dataclass(frozen=True, repr=False)
class LieGroup:
    """SO(2), the rotations of the plane, or O(2), the rotations and reflections.

    With the translations of the image they are SE(2) and E(2). `SO2` and `O2` make these groups,
    which are immutable and hashable. Elements are matrices ``[..., 2, 2]``. An element of O(2) is
    ``exp(angle)`` or ``exp(angle) F``, with F the mirroring of the last axis.

    >>> from gconv_jax import SO2
    >>> once = SO2().exp(0.5)
    >>> print(SO2().log(SO2().product(once, once)))
    1.0
    """

    reflections: bool
    """True for O(2), which has the mirrorings of the plane."""
    dimension: ClassVar[int] = 2

    def exp(self, angle: jax.typing.ArrayLike) -> jax.Array:
        """The rotation by ``angle`` radians, an element of the Lie algebra: ``[..., 2, 2]``."""
        angle = jnp.asarray(angle)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)

    def log(self, element: jax.Array) -> jax.Array:
        """Return the angle of a rotation in [-pi, pi], the inverse of `exp`.

        A mirrored element ``exp(angle) F`` has no logarithm; its result is this angle.
        """
        element = jnp.asarray(element)
        return jnp.arctan2(element[..., 1, 0], element[..., 0, 0])

    def product(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """``ab``: b first, then a."""
        return jnp.matmul(a, b, precision=_HIGHEST)

    def inverse(self, element: jax.Array) -> jax.Array:
        """The transpose, for these are isometries."""
        return jnp.swapaxes(jnp.asarray(element), -1, -2)

    def is_mirrored(self, element: jax.Array) -> jax.Array:
        """Return whether the determinant is -1: ``[...]``, boolean."""
        return determinant(element) < 0

    @property
    def identity(self) -> jax.Array:
        """The identity matrix."""
        return jnp.eye(2)

    def sample(self, key: jax.Array, samples: int) -> jax.Array:
        """Draw independent elements from the Haar measure: ``[samples, 2, 2]``.

        The Haar measure is the uniform distribution on the group.
        """
        turn, flip = jax.random.split(key)
        elements = self.exp(jax.random.uniform(turn, (samples,), minval=-jnp.pi, maxval=jnp.pi))
        if not self.reflections:
            return elements
        sign = jnp.where(jax.random.bernoulli(flip, shape=(samples,)), 1.0, -1.0)
        return elements * jnp.stack([jnp.ones_like(sign), sign], -1)[:, None, :]

    def grid(self, samples: int, offset: jax.typing.ArrayLike | None = None) -> jax.Array:
        """Return evenly spaced elements: the finite subgroup, turned by ``offset`` radians.

        The result is ``[samples, 2, 2]``, in the order of ``cyclic(samples)`` or
        ``dihedral(samples / 2)``. The mean of a function over the grid is exact for frequencies
        below the number of rotations. With a uniform random ``offset`` (`stratified`) it is
        unbiased for all frequencies.
        """
        elements = jnp.asarray(self.finite(samples).matrices, float)
        return elements if offset is None else self.product(self.exp(offset), elements)

    def stratified(self, key: jax.Array, samples: int) -> jax.Array:
        """Return the `grid`, turned by a random angle: each element is Haar distributed."""
        return self.grid(samples, jax.random.uniform(key, maxval=2 * jnp.pi))

    def finite(self, samples: int) -> FiniteGroup:
        """Return the subgroup with so many elements; ValueError unless there is one.

        It is ``cyclic(samples)`` or ``dihedral(samples / 2)``.
        """
        check_integer("samples", samples)
        least = 2 if self.reflections else 1
        if samples < least or samples % least:
            what = "even, half of them mirrored," if self.reflections else "at least 1"
            raise ValueError(f"`samples` must be {what} for {self!r}, got {samples}")
        return dihedral(int(samples) // 2) if self.reflections else cyclic(int(samples))

    @property
    def lattice(self) -> FiniteGroup:
        """The elements that map pixels onto pixels: P4 or P4M."""
        return P4M if self.reflections else P4

    def __repr__(self) -> str:
        return "O2()" if self.reflections else "SO2()"


def SO2() -> LieGroup:
    """The rotations of the plane.

    >>> SO2()
    SO2()
    """
    return LieGroup(reflections=False)


def O2() -> LieGroup:
    """The rotations and the reflections of the plane.

    >>> O2().grid(8).shape
    (8, 2, 2)
    """
    return LieGroup(reflections=True)


PlanarGroup = LieGroup | FiniteGroup


def determinant(matrices: jax.Array) -> jax.Array:
    """Return the determinants of ``[..., 2, 2]``: 1 for a rotation, -1 for a mirrored element."""
    a, b = matrices[..., 0, :], matrices[..., 1, :]
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def check_planar_group(group: PlanarGroup, *, name: str = "group") -> PlanarGroup:
    """Return ``group`` itself; TypeError or ValueError unless it is a group of the plane."""
    if not isinstance(group, LieGroup | FiniteGroup):
        raise TypeError(
            f"`{name}` must be SO2(), O2() or a FiniteGroup of the plane such as gconv_jax.P4 or "
            f"gconv_jax.mirror(), got {group!r} of type {type(group).__name__}"
        )
    if group.dimension != 2:
        raise ValueError(
            f"`{name}` must act on the plane, got {group!r} of dimension {group.dimension}"
        )
    return group
