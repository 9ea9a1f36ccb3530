"""The elements of finite groups: isometries that fix the origin, multiplied exactly."""

import itertools
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

# The columns are the steps along the two axes of an array of hexagons, in (down, right).
HEXAGONAL_BASIS = np.array([[np.sqrt(3) / 2, 0], [1 / 2, 1]])


class PlanarIsometry(NamedTuple):
    """An isometry ``R(turn) F^mirrored`` of the plane or the line.

    It mirrors first, which reverses the last axis. Then it rotates by ``turn`` whole turns,
    counter-clockwise as displayed.
    """

    turn: Fraction
    mirrored: bool
    lattice: Literal["square", "hexagonal"] = "square"
    """The lattice whose coordinates its matrix acts on, and which it may map onto itself."""

    def __mul__(self, other: "PlanarIsometry") -> "PlanarIsometry":  # pyright: ignore[reportIncompatibleMethodOverride]
        # F R(t) = R(-t) F moves the left factor's mirror past the right factor's rotation.
        turn = self.turn - other.turn if self.mirrored else self.turn + other.turn
        return self._replace(turn=turn % 1, mirrored=self.mirrored != other.mirrored)

    @property
    def inverse(self) -> "PlanarIsometry":
        """The isometry that undoes this one."""
        return self if self.mirrored else self._replace(turn=-self.turn % 1)

    @property
    def rank(self) -> tuple:
        """The key by which the elements of a group are sorted."""
        return self.mirrored, self.turn

    @property
    def is_lattice(self) -> bool:
        """True if the isometry maps its lattice onto itself."""
        return ((6 if self.lattice == "hexagonal" else 4) * self.turn).denominator == 1

    def matrix(self, dimension: int) -> np.ndarray:
        """Return the matrix on (row, column) counted from the center, or on the column alone.

        On a hexagonal lattice these are axial coordinates (`gconv_jax.hexagonal`).
        """
        flip = -1 if self.mirrored else 1
        if dimension == 1:
            return np.array([[flip]])
        angle = 2 * np.pi * float(self.turn)
        c, s = np.cos(angle), np.sin(angle)
        # Counter-clockwise as displayed, with rows counted downwards: a quarter turn takes the
        # right (column +1) to the top (row -1).
        matrix = np.array([[c, -s * flip], [s, c * flip]])
        if self.lattice == "hexagonal":
            matrix = np.linalg.solve(HEXAGONAL_BASIS, matrix @ HEXAGONAL_BASIS)
        return np.rint(matrix).astype(np.int64) if self.is_lattice else matrix

    def __str__(self) -> str:
        rotation = f"r{float(self.turn * 360):g}" if self.turn else ""
        return "·".join(filter(None, (rotation, "m" if self.mirrored else ""))) or "e"


class SignedPermutation(NamedTuple):
    """A symmetry of the cube: ``y[i] = signs[i] x[axes[i]]``.

    The coordinates x are (depth, row, column), counted from the center.
    """

    axes: tuple[int, ...]
    signs: tuple[int, ...]
    lattice = "cubic"

    def __mul__(self, other: "SignedPermutation") -> "SignedPermutation":  # pyright: ignore[reportIncompatibleMethodOverride]
        return SignedPermutation(
            tuple(other.axes[a] for a in self.axes),
            tuple(s * other.signs[a] for s, a in zip(self.signs, self.axes, strict=True)),
        )

    @property
    def inverse(self) -> "SignedPermutation":
        """The isometry that undoes this one."""
        axes = tuple(self.axes.index(i) for i in range(len(self.axes)))
        return SignedPermutation(axes, tuple(self.signs[a] for a in axes))

    @property
    def mirrored(self) -> bool:
        """True if the determinant is -1."""
        return self.is_even == (np.prod(self.signs) < 0)

    @property
    def is_even(self) -> bool:
        """True if the permutation of the axes is an even one."""
        inversions = sum(a > b for a, b in itertools.combinations(self.axes, 2))
        return inversions % 2 == 0

    @property
    def rank(self) -> tuple:
        """The key by which elements are sorted: rotations first, by increasing angle."""
        trace = int(np.trace(self.matrix(3)))
        return self.mirrored, trace if self.mirrored else -trace, self.axes, self.signs

    @property
    def is_lattice(self) -> bool:
        """True, since every symmetry of the cube maps the cubic lattice onto itself."""
        return True

    def matrix(self, dimension: int) -> np.ndarray:
        """Return the matrix on (depth, row, column) counted from the center."""
        return np.array(self.signs)[:, None] * np.eye(dimension, dtype=np.int64)[list(self.axes)]

    def __str__(self) -> str:
        """Return the image of the point (d, h, w), e.g. ``(d,-w,h)``; ``e`` for the identity."""
        names = ["-"[s > 0 :] + "dhw"[a] for a, s in zip(self.axes, self.signs, strict=True)]
        return "e" if names == ["d", "h", "w"] else f"({','.join(names)})"


Isometry = PlanarIsometry | SignedPermutation


def is_isometry(g: object, dimension: int) -> bool:
    """Return whether ``g`` is an isometry of the line, the plane or space."""
    if dimension == 3:
        return (
            isinstance(g, SignedPermutation)
            and isinstance(g.axes, tuple)
            and isinstance(g.signs, tuple)
            and sorted(g.axes) == [0, 1, 2]
            and len(g.signs) == 3
            and set(g.signs) <= {1, -1}
        )
    return (
        isinstance(g, PlanarIsometry)
        and isinstance(g.turn, Fraction)
        and 0 <= g.turn < 1
        and g.lattice in ("square", "hexagonal")
        and (dimension == 2 or (g.turn == 0 and g.lattice == "square"))
    )


CUBE_IDENTITY = SignedPermutation((0, 1, 2), (1, 1, 1))
