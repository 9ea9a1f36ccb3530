"""Bases in which the matrices of an irreducible representation are sparse and exact.

A representation that was found from random numbers stands in a random basis. A better one consists
of joint eigenvectors of commuting elements, adapted to the complex or quaternionic structure.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from gconv_jax.groups.cayley_table import ZERO, CayleyTable

_LEAVES = 16  # the bases that are tried for each class of first elements
GAP = 1e-6
"""The difference above which two eigenvalues are distinct."""


class DegenerateError(ArithmeticError):
    """The random numbers of an attempt made eigenvalues coincide."""


def commutant(
    matrices: np.ndarray, endomorphisms: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return orthonormal imaginary units of the commutant of an irrep: [], [J], or [I, J, I J]."""
    if endomorphisms == 1:
        return []

    def unit(*others: np.ndarray) -> np.ndarray:
        d = matrices.shape[-1]
        a = rng.normal(size=(d, d))
        mean = (matrices @ (a - a.T) @ matrices.transpose(0, 2, 1)).mean(0)
        for other in others:
            mean = mean - np.vdot(mean, other) / d * other
        size = np.linalg.norm(mean) / math.sqrt(d)
        if size > 1e-3:
            mean = mean / size
        if not np.allclose(mean @ mean, -np.eye(d), rtol=0, atol=ZERO):
            raise DegenerateError("an eigenspace is not irreducible")
        return mean

    i = unit()
    if endomorphisms == 2:
        # J and -J serve alike: choose the one that the first element to tell them apart turns to.
        turning = np.tensordot(matrices, i, 2)
        return [i if turning[np.argmax(np.abs(turning) > GAP)] > 0 else -i]
    j = unit(i)
    return [i, j, i @ j]


def sparse_basis(
    group_table: CayleyTable, matrices: np.ndarray, commuting: list[np.ndarray]
) -> np.ndarray:
    """Return the basis, of those tried, in which the matrices have the fewest nonzeros."""
    order, d, _ = matrices.shape
    fewest, best = math.inf, np.eye(len(matrices[0]))
    for lines in _decompositions(group_table, matrices, commuting):
        basis = _basis(matrices, commuting, lines)
        nonzeros = np.count_nonzero(np.abs(basis.T @ matrices @ basis) > ZERO)
        if nonzeros < fewest:
            fewest, best = nonzeros, basis
        if nonzeros == order * d:  # one in each row, the least there can be
            break
    return best


def _decompositions(
    group_table: CayleyTable, matrices: np.ndarray, commuting: list[np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """Yield ways to split the space into lines over the commutant, each line real ``[d, e]``.

    The space is split into eigenspaces of one element after the other. Elements that commute with
    those before are preferred, then elements of small order. Conjugate first elements are
    equivalent, so only one of each class is tried.
    """
    least = len(commuting) + 1
    whole = [np.eye(matrices.shape[-1])]
    by_order = sorted(range(group_table.order), key=lambda g: (group_table.orders[g], g))
    commute = group_table.table == group_table.table.T

    def finer(spaces: list[np.ndarray], g: int) -> list[np.ndarray]:
        forth, back = matrices[g], matrices[g].T
        spaces = split_spaces(spaces, (forth + back) / 2, least)
        if len(commuting) == 1:  # tells the eigenvalue exp(it) from exp(-it)
            spaces = split_spaces(spaces, commuting[0] @ (back - forth) / 2, least)
        return spaces

    def continued(spaces: list[np.ndarray], allowed: list[int]) -> Iterator[list[np.ndarray]]:
        if all(space.shape[1] == least for space in spaces):
            yield spaces
            return
        stuck = True
        for g in allowed:
            if len(split := finer(spaces, g)) > len(spaces):
                stuck = False
                yield from continued(split, [h for h in allowed if commute[g, h]])
        if stuck and allowed is by_order:
            raise DegenerateError("a representation is not irreducible")
        if stuck:  # together, all elements split every space that is not a line
            yield from continued(spaces, by_order)

    if whole[0].shape[1] == least:
        yield whole
        return
    for first in by_order:
        if first in group_table.leaders and len(split := finer(whole, first)) > 1:
            allowed = [g for g in by_order if commute[first, g]]
            yield from itertools.islice(continued(split, allowed), _LEAVES)


def _basis(
    matrices: np.ndarray, commuting: list[np.ndarray], lines: list[np.ndarray]
) -> np.ndarray:
    """Return the basis v_1, J v_1, v_2, J v_2 ... with v_i in ``lines[i]``: orthogonal ``[d, d]``.

    v_i is the image of v_1 under an element, projected to the line of v_i. So phases and signs do
    not depend on the random numbers.
    """
    # Over the real numbers only the sign of v_i is free, and the first image gives it. Otherwise
    # an image that is in the line altogether leaves the most zeros.
    close = 1 - ZERO if commuting else GAP
    images = matrices @ lines[0][:, 0]
    vectors = [lines[0][:, 0]] + [line @ _first(images @ line, close) for line in lines[1:]]
    if len(commuting) == 3:
        # Any two perpendicular imaginary units serve as I and J. Take those that elements of the
        # group multiply by, since they leave the most zeros.
        units = np.array(commuting)
        moved = np.einsum("gij,aj->gai", matrices, vectors)
        parts = np.einsum("gai,ubi->gabu", moved, np.einsum("uij,bj->ubi", units, vectors))
        parts = parts.reshape(-1, 3)
        i = _first(parts, close)
        j = _first(parts - np.outer(parts @ i, i), close)
        i, j = np.tensordot(i, units, 1), np.tensordot(j, units, 1)
        commuting = [i, j, i @ j]
    columns = [u @ v for v in vectors for u in [np.eye(len(images[0])), *commuting]]
    left, _, right = np.linalg.svd(np.stack(columns, 1))
    return left @ right


def _first(vectors: np.ndarray, close: float) -> np.ndarray:
    """Return the first vector at least ``close`` times as long as the longest, at unit length."""
    lengths = np.linalg.norm(vectors, axis=1)
    first = np.argmax(lengths >= close * lengths.max())
    if not lengths[first] > GAP:
        raise DegenerateError("a representation is not irreducible")
    return vectors[first] / lengths[first]


def split_spaces(spaces: list[np.ndarray], operator: np.ndarray, least: int) -> list[np.ndarray]:
    """Return the eigenspaces of a symmetric ``operator`` restricted to each of ``spaces``.

    Spaces are orthonormal columns. Those of dimension ``least`` are left alone. Eigenvalues
    descend.
    """
    parts = []
    for space in spaces:
        if space.shape[1] == least:
            parts.append(space)
            continue
        values, vectors = np.linalg.eigh(space.T @ operator @ space)
        cuts = np.flatnonzero(-np.diff(values[::-1]) > GAP) + 1
        parts += np.split(space @ vectors[:, ::-1], cuts, axis=1) if len(cuts) else [space]
    return parts


def snap(matrices: np.ndarray, group_table: CayleyTable) -> np.ndarray:
    """Return the matrices with entries near an exact value replaced by that value.

    Exact values are 0, 1/2, 1, the roots of 1/2 and 3/4, and cosines and sines of the angles by
    which an element may turn. Near means within 1e-12.
    """
    quarter = math.lcm(*group_table.orders.tolist())
    exact = np.array([0, 0.5, math.sqrt(2) / 2, math.sqrt(3) / 2, 1])
    cosines = np.cos(np.pi / 2 * np.arange(quarter + 1) / quarter)
    new = np.abs(cosines[:, None] - exact).min(1) > ZERO
    values = np.sort(np.concatenate([exact, cosines[new]]))
    size = np.abs(matrices)
    above = np.searchsorted(values, size).clip(1, len(values) - 1)
    nearest = np.where(
        size - values[above - 1] < values[above] - size, values[above - 1], values[above]
    )
    snapped = np.where(np.abs(size - nearest) < 1e-12, np.copysign(nearest, matrices), matrices)
    return snapped + 0.0  # no negative zeros
