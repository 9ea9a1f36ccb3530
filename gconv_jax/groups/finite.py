"""Finite groups of rotations and reflections of the line, the plane and space.

An element is an exact isometry that fixes the origin (`gconv_jax.groups.elements`): in the plane a
turn by a rational fraction of the circle after an optional mirroring, in space a symmetry of the
cube. Products and inverses need no floating-point angle. Everything else (Cayley table, inverses,
subgroups, cosets) follows from the products. In the public API an element is its index.
"""

import functools
import itertools
import operator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gconv_jax.groups import point_groups
from gconv_jax.groups.elements import Isometry, is_isometry
from gconv_jax.ops.arguments import check_integer
from gconv_jax.ops.frozen import freeze_array


@dataclass(frozen=True, repr=False)
class FiniteGroup:
    """A finite group acting on the line, the plane or space (``dimension`` 1, 2 or 3).

    A group is immutable, hashable and picklable. So it serves as a static argument of ``jax.jit``
    and as an attribute of a Flax module. Two groups are equal iff they hold the same isometries.
    Elements are numbered 0 ... ``order - 1``: first the rotations by increasing angle, then the
    mirrored ones. Build groups with `cyclic`, `dihedral`, `mirror`, `trivial`, `octahedral` and its
    relatives, and `FiniteGroup.subgroup`.

    >>> from gconv_jax import P4, P4M
    >>> P4M
    P4M
    >>> P4.cayley[1, 3] == P4.identity, P4.inverse[1]  # a quarter turn and its inverse
    (np.True_, np.int64(3))
    >>> [P4M.element_name(g) for g in P4M.elements]
    ['e', 'r90', 'r180', 'r270', 'm', 'r90·m', 'r180·m', 'r270·m']
    """

    dimension: int
    """The dimension of the space that the group acts on: 1, 2 or 3."""
    isometries: tuple[Isometry, ...]
    """The elements in their order."""

    def __post_init__(self):
        check_integer("dimension", self.dimension, among=(1, 2, 3))
        if not isinstance(self.isometries, tuple) or not all(
            is_isometry(g, self.dimension) for g in self.isometries
        ):
            raise TypeError(
                f"`isometries` must be a tuple of isometries of dimension {self.dimension}, got "
                f"{self.isometries!r}; cyclic, dihedral and their relatives make groups"
            )
        ranks = [g.rank for g in self.isometries]
        if not ranks or ranks != sorted(set(ranks)) or str(self.isometries[0]) != "e":
            raise ValueError(
                "`isometries` must be distinct and in order, the identity first, then rotations by "
                "increasing angle, then mirrored ones, got "
                f"({', '.join(map(str, self.isometries))}); FiniteGroup.subgroup sorts them"
            )
        _cayley(self)

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
        """The elements as matrices ``[order, dimension, dimension]``, read-only.

        They act on array indices counted from the center: ``(position,)`` on the line,
        ``(row, column)`` in the plane, ``(depth, row, column)`` in space. Their dtype is int64 if
        the group is a symmetry of the lattice (`is_lattice`), else float64.
        """
        return _matrices(self)

    @property
    def is_lattice(self) -> bool:
        """True if every element maps the lattice onto itself, so that it acts without resampling.

        On the square lattice these are multiples of 90 degrees and the mirrorings along axes and
        diagonals; on the hexagonal one they are the elements of `P6M`.
        """
        return all(g.is_lattice for g in self.isometries)

    @property
    def is_hexagonal(self) -> bool:
        """True if arrays are hexagonal lattices in axial coordinates, as for `P6` and `P6M`."""
        return self.isometries[0].lattice == "hexagonal"

    def element_name(self, element: int) -> str:
        """Return a readable name of an element.

        ``e`` is the identity, ``r90`` a rotation by 90 degrees, and ``r90·m`` the mirroring of the
        last axis followed by that rotation. In space the name says where the point (d, h, w) goes,
        e.g. ``(d,-w,h)``.
        """
        return str(self.isometries[self.check_element(element)])

    def check_element(self, element: int | str) -> int:
        """Return the index of an element that is given by its index or its name.

        >>> from gconv_jax import P4M
        >>> P4M.check_element("r90"), P4M.check_element("r90·m"), P4M.check_element("r90m")
        (1, 5, 5)

        Raises:
            ValueError, TypeError: the group has no such element.
        """
        if isinstance(element, str):
            names = [self.element_name(g) for g in self.elements]
            found = {name.replace("·", ""): g for g, name in enumerate(names)}
            try:
                return found[element.replace("·", "")]
            except KeyError:
                raise ValueError(
                    f"`element` must be an index or one of {', '.join(names)} for {self!r}, got "
                    f"{element!r}"
                ) from None
        try:
            if isinstance(element, bool):
                raise TypeError
            index = operator.index(element)
        except TypeError:
            raise TypeError(
                f"`element` must be an index or a name in {self!r}, got {element!r} of type "
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
        isometries = (self.isometries[g] for g in found)
        return FiniteGroup(self.dimension, point_groups.sort_isometries(isometries))

    def indices(self, subgroup: "FiniteGroup") -> np.ndarray:
        """Return the indices of the elements of ``subgroup``: int64 ``[subgroup.order]``.

        ValueError if it is not a subgroup. A subgroup's elements need not be the first ones, nor
        stand in the same order.

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
        known = point_groups.constructor_calls(self.dimension, self.order)
        return known.get(self.isometries) or f"FiniteGroup({', '.join(map(str, self.isometries))})"


def check_group(group: FiniteGroup, *, name: str = "group") -> FiniteGroup:
    """Return ``group`` itself; TypeError unless it is a `FiniteGroup`."""
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
    return _cyclic(check_integer("n", n, least=1))


def dihedral(n: int) -> FiniteGroup:
    """The ``n`` rotations of `cyclic` and ``n`` reflections: 2n elements of the plane.

    Element ``m n + r`` mirrors left-right if m = 1 and then turns by r/n; ``dihedral(4)`` is
    `P4M`.

    >>> dihedral(4).order
    8
    """
    return _dihedral(check_integer("n", n, least=1))


def mirror(dimension: int = 2) -> FiniteGroup:
    """The identity and the reversal of the last spatial axis: 2 elements.

    In the plane this is left-right mirroring, ``dihedral(1)``; on the line, x -> -x; in space,
    width w -> -w.

    >>> mirror() == dihedral(1), mirror(dimension=1).matrices.tolist()
    (True, [[[1]], [[-1]]])
    """
    return _mirror(check_integer("dimension", dimension, among=(1, 2, 3)))


def trivial(dimension: int = 2) -> FiniteGroup:
    """The identity alone: its group convolution is the ordinary one. ``trivial() == Z2``.

    >>> trivial(dimension=1).order
    1
    """
    return _trivial(check_integer("dimension", dimension, among=(1, 2, 3)))


def octahedral() -> FiniteGroup:
    """The 24 rotations of the cube, which map voxels onto voxels.

    Worrall & Brostow 2018 (arXiv:1804.04458) have networks over this group.

    >>> octahedral().order, octahedral().subgroup(1)
    (24, rotations_about(0))
    """
    return _cube(mirrored=False, odd=True)


def full_octahedral() -> FiniteGroup:
    """All 48 symmetries of the cube: the rotations, and the same mirrored.

    >>> full_octahedral().order, full_octahedral().cosets(octahedral()).shape
    (48, (2, 24))
    """
    return _cube(mirrored=True, odd=True)


def tetrahedral() -> FiniteGroup:
    """The 12 rotations of the cube that are even permutations of its diagonals.

    They are the half turns about the axes, and the thirds of a turn about the diagonals.

    >>> [tetrahedral().element_name(g) for g in (0, 1, 11)]
    ['e', '(-h,-w,d)', '(d,-h,-w)']
    """
    return _cube(mirrored=False, odd=False)


def klein_four() -> FiniteGroup:
    """The identity and the half turns about the three axes: 4 elements, of which any two commute.

    >>> [klein_four().element_name(g) for g in range(4)]
    ['e', '(-d,-h,w)', '(-d,h,-w)', '(d,-h,-w)']
    """
    return FiniteGroup(3, point_groups.half_turns())


def rotations_about(axis: int) -> FiniteGroup:
    """The 4 rotations of voxels by quarter turns about one axis: 0 depth, 1 height, 2 width.

    The group suits volumes in which one direction is special, such as up. Element 1 is
    ``jnp.rot90`` in the two other axes, in their order; 2 is its inverse and 3 the half turn.

    >>> rotations_about(0).order
    4
    """
    if check_integer("axis", axis) not in (0, 1, 2):
        raise ValueError(f"`axis` must be 0, 1 or 2 for depth, height or width, got {axis}")
    return FiniteGroup(3, point_groups.quarter_turns(int(axis)))


# The same objects at every call: comparing groups is then a comparison of identities.


@functools.cache
def _cyclic(n: int) -> FiniteGroup:
    return FiniteGroup(2, point_groups.turns(n))


@functools.cache
def _dihedral(n: int) -> FiniteGroup:
    return FiniteGroup(2, point_groups.turns(n, mirrored=True))


@functools.cache
def _trivial(dimension: int) -> FiniteGroup:
    return FiniteGroup(dimension, point_groups.identity_alone(dimension))


@functools.cache
def _mirror(dimension: int) -> FiniteGroup:
    return FiniteGroup(dimension, point_groups.last_axis_mirrored(dimension))


@functools.cache
def _cube(*, mirrored: bool, odd: bool) -> FiniteGroup:
    return FiniteGroup(3, point_groups.cube(mirrored=mirrored, odd=odd))


@functools.cache
def _cayley(group: FiniteGroup) -> np.ndarray:
    position = {g: i for i, g in enumerate(group.isometries)}
    try:
        return freeze_array(np.array([[position[g * h] for h in position] for g in position]))  # pyright: ignore[reportOperatorIssue]
    except KeyError as product:
        raise ValueError(
            f"`isometries` must be a group, got ({', '.join(map(str, position))}): "
            f"{product.args[0]} is a product of two of them and not one of them"
        ) from None


@functools.cache
def _inverse(group: FiniteGroup) -> np.ndarray:
    position = {g: i for i, g in enumerate(group.isometries)}
    return freeze_array(np.array([position[g.inverse] for g in position]))


@functools.cache
def _matrices(group: FiniteGroup) -> np.ndarray:
    return freeze_array(np.stack([g.matrix(group.dimension) for g in group.isometries]))


Z2 = cyclic(1)
"""Translations alone (the group of the ordinary convolution): the trivial point group."""
P4 = cyclic(4)
"""Translations and rotations by 90 degrees."""
P4M = dihedral(4)
"""Translations, rotations by 90 degrees and reflections."""
P6 = FiniteGroup(2, point_groups.turns(6, lattice="hexagonal"))
"""Translations and rotations by 60 degrees of a hexagonal lattice.

Its arrays are in axial coordinates, see `gconv_jax.hexagonal`."""
P6M = FiniteGroup(2, point_groups.turns(6, mirrored=True, lattice="hexagonal"))
"""Translations, rotations by 60 degrees and reflections of a hexagonal lattice."""
