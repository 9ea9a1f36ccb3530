"""The continuous groups of the plane, SO(2) and O(2): exp, log, product, inverse, sampling.

An element is its matrix, as in `FiniteGroup.matrices`: rotations of array indices counted from the
center, counter-clockwise as displayed. A matrix has no place where an angle of 2 pi becomes one
of 0, so functions of it are periodic as they stand.
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
    """SO(2), the rotations of the plane, or O(2), with the reflections; with the translations of
    the image, SE(2) and E(2).

    Immutable and hashable. Built by `SO2` and `O2`. Elements are matrices ``[..., 2, 2]``; one of
    O(2) is ``exp(angle) F`` with F the mirroring of the last axis, or ``exp(angle)``.

    >>> from gconv_jax import SO2
    >>> once = SO2().exp(0.5)
    >>> print(SO2().log(SO2().product(once, once)))
    1.0
    """

    reflections: bool
    """Whether it has the mirrorings of the plane."""
    dimension: ClassVar[int] = 2

    def exp(self, angle: jax.typing.ArrayLike) -> jax.Array:
        """The rotation by ``angle`` radians, an element of the Lie algebra: ``[..., 2, 2]``."""
        angle = jnp.asarray(angle)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)

    def log(self, element: jax.Array) -> jax.Array:
        """The angle in [-pi, pi] of a rotation, the inverse of `exp`; of a mirrored element
        ``exp(angle) F``, which has no logarithm, the angle of that rotation."""
        element = jnp.asarray(element)
        return jnp.arctan2(element[..., 1, 0], element[..., 0, 0])

    def product(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """``ab``: b first, then a."""
        return jnp.matmul(a, b, precision=_HIGHEST)

    def inverse(self, element: jax.Array) -> jax.Array:
        """The transpose, for these are isometries."""
        return jnp.swapaxes(jnp.asarray(element), -1, -2)

    def is_mirrored(self, element: jax.Array) -> jax.Array:
        """Whether the determinant is -1: ``[...]``, boolean."""
        return determinant(element) < 0

    @property
    def identity(self) -> jax.Array:
        """The identity matrix."""
        return jnp.eye(2)

    def sample(self, key: jax.Array, samples: int) -> jax.Array:
        """Independent elements from the Haar measure, the uniform distribution on the group:
        ``[samples, 2, 2]``."""
        turn, flip = jax.random.split(key)
        elements = self.exp(jax.random.uniform(turn, (samples,), minval=-jnp.pi, maxval=jnp.pi))
        if not self.reflections:
            return elements
        sign = jnp.where(jax.random.bernoulli(flip, shape=(samples,)), 1.0, -1.0)
        return elements * jnp.stack([jnp.ones_like(sign), sign], -1)[:, None, :]

    def grid(self, samples: int, offset: jax.typing.ArrayLike | None = None) -> jax.Array:
        """Evenly spaced elements: the finite subgroup of that order, turned by ``offset`` radians.

        ``[samples, 2, 2]``, in the order of ``cyclic(samples)`` or ``dihedral(samples / 2)``.
        Its mean over functions on the group is exact up to frequencies below its number of
        rotations; with a uniform random ``offset`` (`stratified`) it is right on average for all.
        """
        elements = jnp.asarray(self.finite(samples).matrices, float)
        return elements if offset is None else self.product(self.exp(offset), elements)

    def stratified(self, key: jax.Array, samples: int) -> jax.Array:
        """The `grid`, turned by a random angle: each element by itself is Haar distributed."""
        return self.grid(samples, jax.random.uniform(key, maxval=2 * jnp.pi))

    def finite(self, samples: int) -> FiniteGroup:
        """The subgroup with so many elements: ``cyclic(samples)`` or ``dihedral(samples / 2)``.
        ValueError unless there is one."""
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
    """``[..., 2, 2]`` to ``[...]``: 1 for a rotation, -1 for a mirrored element."""
    a, b = matrices[..., 0, :], matrices[..., 1, :]
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def check_planar_group(group: PlanarGroup, *, name: str = "group") -> PlanarGroup:
    """``group`` itself; TypeError or ValueError unless it is a group of the plane."""
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
