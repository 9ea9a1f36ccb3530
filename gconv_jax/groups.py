"""Finite groups of rotations and reflections of the line and the plane.

An element is an exact isometry that fixes the origin: turn by a rational fraction of the
circle, after an optional mirroring. Products and inverses are computed on those fractions, so
the algebra knows no floating-point angle; everything else (Cayley table, inverses, subgroups,
cosets) follows from the products. In the public API an element is its index.
"""

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np


class Isometry(NamedTuple):
    """``R(turn) F^mirrored``: mirror first (the last axis is reversed), then rotate by ``turn``
    whole turns, counter-clockwise as displayed."""

    turn: Fraction
    mirrored: bool

    def __mul__(self, other: "Isometry") -> "Isometry":
        # F R(t) = R(-t) F moves the left factor's mirror past the right factor's rotation.
        turn = self.turn - other.turn if self.mirrored else self.turn + other.turn
        return Isometry(turn % 1, self.mirrored != other.mirrored)

    @property
    def inverse(self) -> "Isometry":
        return self if self.mirrored else Isometry(-self.turn % 1, False)

    @property
    def is_lattice(self) -> bool:
        """Whether it maps the square lattice onto itself."""
        return (4 * self.turn).denominator == 1

    def __str__(self) -> str:
        rotation = f"r{float(self.turn * 360):g}" if self.turn else ""
        return "·".join(filter(None, (rotation, "m" if self.mirrored else ""))) or "e"


@dataclass(frozen=True, repr=False)
class FiniteGroup:
    """A finite group acting on the line (``dimension`` 1) or the plane (``dimension`` 2).

    Immutable, hashable and picklable, so it serves as a static argument of ``jax.jit`` and as an
    attribute of a Flax module. Two groups are equal iff they hold the same isometries. Elements
    are numbered 0 ... ``order - 1``: first the rotations by increasing angle, then the mirrored
    ones. Build groups with `cyclic`, `dihedral`, `mirror`, `trivial` and `FiniteGroup.subgroup`.

    >>> from gconv_jax import P4, P4M
    >>> P4M
    dihedral(4)
    >>> P4.cayley[1, 3] == P4.identity, P4.inverse[1]  # a quarter turn and its inverse
    (np.True_, np.int64(3))
    >>> [P4M.element_name(g) for g in P4M.elements]
    ['e', 'r90', 'r180', 'r270', 'm', 'r90·m', 'r180·m', 'r270·m']
    """

    dimension: int
    isometries: tuple[Isometry, ...]

    def __hash__(self) -> int:
        # Groups are hashed at every call of a jitted function: leave the fractions to __eq__.
        return hash((self.dimension, len(self.isometries)))

    @property
    def order(self) -> int:
        """The number of elements."""
        return len(self.isometries)

    @property
    def elements(self) -> range:
        """The indices of the elements, ``range(order)``."""
        return range(self.order)

    @property
    def identity(self) -> int:
        """The index of the identity element."""
        return 0

    @property
    def cayley(self) -> np.ndarray:
        """``cayley[g, h]`` is the index of the product gh: int64 ``[order, order]``, read-only."""
        return _cayley(self)

    @property
    def inverse(self) -> np.ndarray:
        """``inverse[g]`` is the index of the inverse of g: int64 ``[order]``, read-only."""
        return _inverse(self)

    @property
    def matrices(self) -> np.ndarray:
        """The elements as matrices on array indices counted from the centre, ``(row, column)``
        in the plane and ``(position,)`` on the line: ``[order, dimension, dimension]``.

        int64 if the group is a symmetry of the square lattice (`is_lattice`), else float64.
        """
        return _matrices(self)

    @property
    def is_lattice(self) -> bool:
        """Whether every element maps the square lattice onto itself (multiples of 90 degrees and
        the mirrorings along axes and diagonals), so that it acts on arrays without resampling."""
        return all(g.is_lattice for g in self.isometries)

    def element_name(self, element: int) -> str:
        """A readable name: ``e`` the identity, ``r90`` a rotation by 90 degrees, ``r90·m`` the
        mirroring (of the last axis) followed by that rotation."""
        return str(self.isometries[self.check_element(element)])

    def check_element(self, element: int) -> int:
        """``element`` as an ``int``; ValueError unless it is the index of an element."""
        try:
            index = element.__index__()
        except AttributeError:
            raise TypeError(
                f"`element` must be an integer index of {self!r}, got {element!r} of type "
                f"{type(element).__name__}"
            ) from None
        if not 0 <= index < self.order:
            raise ValueError(
                f"`element` must be in 0 ... {self.order - 1} for {self!r}, got {index}"
            )
        return index

    def subgroup(self, *generators: int) -> "FiniteGroup":
        """The subgroup that the elements ``generators`` generate.

        >>> from gconv_jax import P4, P4M
        >>> P4M.subgroup(1) == P4
        True
        >>> P4M.subgroup(2, 4)  # half turn and mirror
        dihedral(2)
        """
        found = {self.identity}
        frontier = {self.check_element(g) for g in generators}
        while frontier - found:
            found |= frontier
            frontier = {int(self.cayley[g, h]) for g, h in itertools.product(found, found)}
        return _make(self.dimension, (self.isometries[g] for g in found))

    def indices(self, subgroup: "FiniteGroup") -> np.ndarray:
        """Where the elements of ``subgroup`` stand in this group: int64 ``[subgroup.order]``.

        ValueError if it is not a subgroup. A subgroup's elements need not be the first ones, nor
        in the same order.

        >>> from gconv_jax import P4, cyclic
        >>> P4.indices(cyclic(2))
        array([0, 2])
        """
        check_group(subgroup, name="subgroup")
        position = {g: i for i, g in enumerate(self.isometries)}
        missing = [str(g) for g in subgroup.isometries if g not in position]
        if subgroup.dimension != self.dimension or missing:
            raise ValueError(
                f"`subgroup` must be a subgroup of {self!r}, got {subgroup!r}"
                + (f", whose elements {', '.join(missing)} are not in it" if missing else "")
            )
        return np.array([position[g] for g in subgroup.isometries])

    def cosets(
        self, subgroup: "FiniteGroup", side: Literal["left", "right"] = "left"
    ) -> np.ndarray:
        """The left cosets gH or right cosets Hg of ``subgroup``: int64 ``[order / |H|, |H|]``.

        Row i lists g_i h (or h g_i) for h in the order of the subgroup's own elements, with the
        smallest index of each coset as its representative g_i; rows are sorted by it.

        >>> from gconv_jax import P4, cyclic
        >>> P4.cosets(cyclic(2))
        array([[0, 2],
               [1, 3]])
        """
        if side not in ("left", "right"):
            raise ValueError(f"`side` must be 'left' or 'right', got {side!r}")
        members = self.indices(subgroup)
        table = self.cayley[:, members] if side == "left" else self.cayley[members].T
        representatives = [g for g in self.elements if table[g].min() == g]
        return table[representatives]

    def __repr__(self) -> str:
        names = {_trivial(1): "trivial(dimension=1)", _dihedral(1, 1): "mirror(dimension=1)"}
        n = sum(not g.mirrored for g in self.isometries)
        planar = {_cyclic(n): f"cyclic({n})", _dihedral(n, 2): f"dihedral({n})"}
        members = ", ".join(map(str, self.isometries))
        return names.get(self) or planar.get(self) or f"FiniteGroup({members})"


def check_group(group: FiniteGroup, *, name: str = "group") -> FiniteGroup:
    """``group`` itself; TypeError unless it is a `FiniteGroup`."""
    if not isinstance(group, FiniteGroup):
        raise TypeError(
            f"`{name}` must be a FiniteGroup such as gconv_jax.P4 or gconv_jax.dihedral(4), "
            f"got {group!r} of type {type(group).__name__}"
        )
    return group


def cyclic(n: int) -> FiniteGroup:
    """The ``n`` rotations of the plane by multiples of 360/n degrees; element g turns by g/n.

    ``cyclic(4)`` is `P4`, whose element 1 is the quarter turn of ``jnp.rot90``.

    >>> cyclic(8).order
    8
    """
    return _cyclic(_check_n(n))


def dihedral(n: int) -> FiniteGroup:
    """The ``n`` rotations of `cyclic` and ``n`` reflections: 2n elements of the plane.

    Element ``m n + r`` mirrors left-right if m = 1 and then turns by r/n; ``dihedral(4)`` is
    `P4M`.

    >>> dihedral(4).order
    8
    """
    return _dihedral(_check_n(n), 2)


def mirror(dimension: int = 2) -> FiniteGroup:
    """The identity and the reversal of the last spatial axis: 2 elements.

    In the plane this is left-right mirroring, ``dihedral(1)``; on the line, x -> -x.

    >>> mirror() == dihedral(1), mirror(dimension=1).matrices.tolist()
    (True, [[[1]], [[-1]]])
    """
    return _dihedral(1, _check_dimension(dimension))


def trivial(dimension: int = 2) -> FiniteGroup:
    """The identity alone: its group convolution is the ordinary one. ``trivial() == Z2``.

    >>> trivial(dimension=1).order
    1
    """
    return _trivial(_check_dimension(dimension))


def _check_n(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"`n` must be an integer, got {n!r} of type {type(n).__name__}")
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}")
    return int(n)


def _check_dimension(dimension: int) -> int:
    if dimension not in (1, 2):
        raise ValueError(f"`dimension` must be 1 or 2, got {dimension!r}")
    return int(dimension)


def _make(dimension: int, isometries: Iterable[Isometry]) -> FiniteGroup:
    return FiniteGroup(dimension, tuple(sorted(isometries, key=lambda g: (g.mirrored, g.turn))))


@functools.cache
def _trivial(dimension: int) -> FiniteGroup:
    return _make(dimension, [Isometry(Fraction(0), False)])


@functools.cache
def _cyclic(n: int) -> FiniteGroup:
    return _make(2, [Isometry(Fraction(r, n), False) for r in range(n)])


@functools.cache
def _dihedral(n: int, dimension: int) -> FiniteGroup:
    return _make(dimension, [Isometry(Fraction(r, n), m) for m in (False, True) for r in range(n)])


def _frozen(table: np.ndarray) -> np.ndarray:
    table.setflags(write=False)
    return table


@functools.cache
def _cayley(group: FiniteGroup) -> np.ndarray:
    position = {g: i for i, g in enumerate(group.isometries)}
    return _frozen(np.array([[position[g * h] for h in position] for g in position]))


@functools.cache
def _inverse(group: FiniteGroup) -> np.ndarray:
    position = {g: i for i, g in enumerate(group.isometries)}
    return _frozen(np.array([position[g.inverse] for g in position]))


@functools.cache
def _matrices(group: FiniteGroup) -> np.ndarray:
    if group.dimension == 1:
        return _frozen(np.array([[[-1 if g.mirrored else 1]] for g in group.isometries]))
    angles = np.array([2 * np.pi * float(g.turn) for g in group.isometries])
    cos, sin = np.cos(angles), np.sin(angles)
    flip = np.array([-1 if g.mirrored else 1 for g in group.isometries])
    # Counter-clockwise as displayed, with rows counted downwards: a quarter turn takes the right
    # (column +1) to the top (row -1).
    matrices = np.stack([np.stack([cos, -sin * flip], -1), np.stack([sin, cos * flip], -1)], -2)
    if group.is_lattice:
        matrices = np.rint(matrices).astype(np.int64)
    return _frozen(matrices)


Z2 = cyclic(1)
"""Translations alone (the group of the ordinary convolution): the trivial point group."""
P4 = cyclic(4)
"""Translations and rotations by 90 degrees."""
P4M = dihedral(4)
"""Translations, rotations by 90 degrees and reflections."""
