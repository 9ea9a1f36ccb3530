"""The isometries of each group that has a constructor, in the order of `FiniteGroup`."""

import functools
import itertools
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

from gconv_jax.groups.elements import CUBE_IDENTITY, Isometry, PlanarIsometry, SignedPermutation


def sort_isometries(isometries: Iterable[Isometry]) -> tuple[Isometry, ...]:
    """Return the isometries with the identity first, then rotations, then mirrored ones."""
    return tuple(sorted(isometries, key=lambda g: g.rank))


def turns(
    n: int, *, mirrored: bool = False, lattice: Literal["square", "hexagonal"] = "square"
) -> tuple[Isometry, ...]:
    """Return the n rotations by multiples of 1/n, and the same after a mirroring if asked for."""
    return tuple(
        PlanarIsometry(Fraction(r, n), m, lattice)
        for m in ((False, True) if mirrored else (False,))
        for r in range(n)
    )


def identity_alone(dimension: int) -> tuple[Isometry, ...]:
    """Return the identity of the line, the plane or space."""
    return (CUBE_IDENTITY,) if dimension == 3 else turns(1)


def last_axis_mirrored(dimension: int) -> tuple[Isometry, ...]:
    """Return the identity and the reversal of the last axis."""
    if dimension == 3:
        return CUBE_IDENTITY, SignedPermutation((0, 1, 2), (1, 1, -1))
    return turns(1, mirrored=True)


def cube(*, mirrored: bool, odd: bool) -> tuple[Isometry, ...]:
    """Return the symmetries of the cube, with or without mirrored and odd permutations of axes."""
    every = (
        SignedPermutation(axes, signs)
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    )
    return sort_isometries(g for g in every if (mirrored or not g.mirrored) and (odd or g.is_even))


def half_turns() -> tuple[Isometry, ...]:
    """Return the identity and the half turns of space about the three axes."""
    signs = [(-1, -1, 1), (-1, 1, -1), (1, -1, -1)]
    return CUBE_IDENTITY, *(SignedPermutation((0, 1, 2), s) for s in signs)


def quarter_turns(axis: int) -> tuple[Isometry, ...]:
    """Return the four rotations of space about one axis: 0, 1/4, -1/4 and 1/2 of a turn."""
    first, second = (a for a in range(3) if a != axis)
    axes, signs = [0, 1, 2], [1, 1, 1]
    axes[first], axes[second], signs[first] = second, first, -1
    turn = SignedPermutation(tuple(axes), tuple(signs))
    return sort_isometries([CUBE_IDENTITY, turn, turn * turn, turn * turn * turn])


@functools.cache
def constructor_calls(dimension: int, order: int) -> dict[tuple[Isometry, ...], str]:
    """Return the Python expressions that make groups of this size, by the groups' isometries."""
    if dimension == 2:
        named = {f"cyclic({order})": turns(order)}
        if order % 2 == 0:
            named[f"dihedral({order // 2})"] = turns(order // 2, mirrored=True)
        constants = {"Z2": turns(1), "P4": turns(4), "P4M": turns(4, mirrored=True)}
        named = {name: g for name, g in named.items() if g not in constants.values()} | constants
        named["P6"] = turns(6, lattice="hexagonal")
        named["P6M"] = turns(6, mirrored=True, lattice="hexagonal")
        # The identity, the half turn and the third of a turn generate the smaller ones.
        for generator, n in ((0, 1), (3, 2), (2, 3)):
            named[f"P6.subgroup({generator})"] = turns(n, lattice="hexagonal")
    else:
        named = {
            f"trivial(dimension={dimension})": identity_alone(dimension),
            f"mirror(dimension={dimension})": last_axis_mirrored(dimension),
        }
    if dimension == 3:
        named["octahedral()"] = cube(mirrored=False, odd=True)
        named["full_octahedral()"] = cube(mirrored=True, odd=True)
        named["tetrahedral()"] = cube(mirrored=False, odd=False)
        named["klein_four()"] = half_turns()
        named |= {f"rotations_about({axis})": quarter_turns(axis) for axis in range(3)}
    return {isometries: name for name, isometries in named.items()}
