"""The Fourier transform over a finite group: its real irreducible representations.

A representation rho gives every element g an orthogonal matrix with rho(g h) = rho(g) rho(h). The
irreducible ones cannot be split further; everything the group does is a sum of them. They are
computed from the multiplication table, with nothing typed in.

The transform of a function f on the group, and its inverse, over all irreducible rho of dimension
d and commutant dimension e (see `Irrep`), with i in ``rows`` and k in 0 ... d - 1::

    f^[i, k] = sum_s f(s) rho(s)[i, k]
    f(s)     = sum_rho sum_{i in rows, k} (d / |G|) f^[i, k] rho(s)[i, k]

It turns the group correlation into products of small matrices, row by row::

    y(r)     = sum_s x(s) psi(r^-1 s)
    y^[i, j] = sum_k x^[i, k] psi^[j, k]        that is  y^ = x^ (psi^)^T

x^ and y^ are needed in ``rows`` only, psi^ in all rows j. That is the sum of (d / e) d d over rho
multiplications, 12 for `P4M`, in place of |G|^2, which is 64.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gconv_jax.groups.finite import FiniteGroup, check_group

_SEEDS = 8  # attempts with other random numbers
_LEAVES = 16  # bases tried for each class of first elements
_ZERO = 1e-9  # what counts as zero among entries that rounding disturbs by 1e-14
_GAP = 1e-6  # eigenvalues further apart than this are distinct


@dataclass(frozen=True, eq=False)
class Irrep:
    """A real irreducible representation rho of a finite group, of dimension d.

    Its matrices commute with an algebra of dimension e: the real numbers, the complex numbers or
    the quaternions, e = sum_g chi(g)^2 / |G| for the character chi(g) = trace rho(g). If e > 1,
    the basis is v_1, J v_1, v_2, J v_2, ... for the complex structure J, or v_1, I v_1, J v_1,
    I J v_1, v_2, ... for the quaternions, so that the rows v_1, v_2, ... determine the others.

    The functions rho_ij for i in ``rows`` and all j, over all representations of the group, are
    an orthogonal basis of the functions on it::

        sum_g rho(g)[i, j] rho'(g)[k, l] = |G| / d  if (rho, i, j) = (rho', k, l)  else 0

    >>> from gconv_jax import P4
    >>> from gconv_jax.groups.irreps import real_irreps
    >>> turn = real_irreps(P4)[-1]
    >>> turn, turn.dimension, turn.cost
    (Irrep(endomorphisms=2, rows=(0,)), 2, 4)
    >>> turn.matrices[1]
    array([[ 0., -1.],
           [ 1.,  0.]])
    """

    matrices: np.ndarray = field(repr=False)
    """rho(g) for every element g: float64 ``[order, d, d]``, orthogonal, read-only."""
    endomorphisms: int
    """e: 1 (real type), 2 (complex type) or 4 (quaternionic type)."""
    rows: tuple[int, ...]
    """The d / e rows whose functions are in the basis: 0, e, 2 e, ..."""

    @property
    def dimension(self) -> int:
        """d, the size of the matrices."""
        return self.matrices.shape[-1]

    @property
    def cost(self) -> int:
        """Real multiplications of ``x^ (psi^)^T`` for one pair of channels: (d / e) d d."""
        return len(self.rows) * self.dimension**2


@functools.cache
def real_irreps(group: FiniteGroup) -> tuple[Irrep, ...]:
    """The real irreducible representations of ``group``: the trivial one first.

    They are sorted by dimension, then by type, then by character from element 0 on, the larger
    first; for `cyclic` this is the order of the frequencies. Two calls give the same arrays.

    >>> from gconv_jax import P4, P4M
    >>> [irrep.dimension for irrep in real_irreps(P4)]
    [1, 1, 2]
    >>> [irrep.dimension for irrep in real_irreps(P4M)]
    [1, 1, 1, 1, 2]
    >>> sum(irrep.cost for irrep in real_irreps(P4M))  # against 64 without the transform
    12
    """
    return irreps_of_table(check_group(group).cayley)


@functools.cache
def fourier_matrix(group: FiniteGroup) -> np.ndarray:
    """The orthonormal Fourier transform F over ``group``: float64 ``[order, order]``, read-only.

    Its rows are the functions ``sqrt(d / |G|) rho_ij``, i in ``rows`` and all j, of the irreps in
    the order of `real_irreps`, i before j. F f is the transform of f, and F^T its inverse::

        (F f)[rho, i, j] = sqrt(d / |G|) f^[i, j]

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> np.round(fourier_matrix(P4), 3)
    array([[ 0.5  ,  0.5  ,  0.5  ,  0.5  ],
           [ 0.5  , -0.5  ,  0.5  , -0.5  ],
           [ 0.707,  0.   , -0.707,  0.   ],
           [ 0.   , -0.707,  0.   ,  0.707]])
    """
    return _frozen(_fourier(real_irreps(group)))


def irreps_of_table(cayley: np.ndarray) -> tuple[Irrep, ...]:
    """The real irreducible representations of the group with this multiplication table.

    ``cayley[g, h]`` is the index of the product gh, integers ``[order, order]``; the identity may
    be any element. In the order of `real_irreps`. ValueError if it is not the table of a group.

    The bases are chosen for sparse matrices: joint eigenvectors of commuting elements, whichever
    of those tried leave the fewest nonzeros. Zeros, cosines of the angles that occur and the like
    are exact.

    >>> import numpy as np
    >>> addition_mod_3 = (np.arange(3)[:, None] + np.arange(3)) % 3
    >>> [(irrep.dimension, irrep.endomorphisms) for irrep in irreps_of_table(addition_mod_3)]
    [(1, 1), (2, 2)]
    """
    structure = _Structure.of(cayley)
    fault = None
    for seed in range(_SEEDS):
        try:
            irreps = _attempt(structure, np.random.default_rng(seed))
            _check(structure, irreps)
            return irreps
        except _DegenerateError as error:
            fault = error
    raise RuntimeError(
        f"no representations of the group of order {structure.order} were found with {_SEEDS} "
        f"sets of random numbers; at last, {fault}"
    )


class _DegenerateError(ArithmeticError):
    """The random numbers of an attempt made eigenvalues coincide."""


@dataclass(frozen=True, eq=False)
class _Structure:
    """What follows from a multiplication table."""

    table: np.ndarray
    inverse: np.ndarray
    orders: np.ndarray
    """The order of each element."""
    leaders: np.ndarray
    """The smallest index of each class of conjugate elements."""

    @classmethod
    def of(cls, cayley: np.ndarray) -> "_Structure":
        table = np.asarray(cayley)
        if table.ndim != 2 or not 0 < len(table) == table.shape[1] or table.dtype.kind not in "iu":
            raise ValueError(
                "`cayley` must be a square table of integers, cayley[g, h] the index of the "
                f"product gh; got shape {table.shape} of {table.dtype}"
            )
        table = table.astype(np.int64)
        every = np.arange(len(table))
        neutral = (table == every).all(1) & (table == every[:, None]).all(0)
        refuse = "`cayley` must be the multiplication table of a group, got one "
        if not (np.sort(table, 0) == every[:, None]).all() or not (np.sort(table) == every).all():
            raise ValueError(
                refuse + f"with a row or column that is not 0 ... {every[-1]} permuted"
            )
        if not neutral.any():
            raise ValueError(refuse + "without an identity e, for which eg = ge = g")
        for g, row in enumerate(table):
            if (table[row] != row[table]).any():
                h, k = np.argwhere(table[row] != row[table])[0]
                why = f"that is not associative: (gh)k != g(hk) for {g}, {h} and {k}"
                raise ValueError(refuse + why)
        identity = np.argmax(neutral)
        inverse = np.argmax(table == identity, axis=1)
        powers, orders = every, np.ones_like(every)
        while (unfinished := powers != identity).any():
            orders = orders + unfinished
            powers = np.where(unfinished, table[powers, every], powers)
        conjugates = table[table, inverse[:, None]]  # [g, h]: g h g^-1
        return cls(table, inverse, orders, np.flatnonzero(conjugates.min(0) == every))

    @property
    def order(self) -> int:
        return len(self.table)

    def is_homomorphism(self, matrices: np.ndarray) -> bool:
        """Whether rho(g) rho(h) = rho(gh) for all g and h, up to rounding."""
        products = np.tensordot(matrices, matrices, (2, 1))  # [g, i, h, j]
        return bool(np.abs(products - matrices[self.table].transpose(0, 2, 1, 3)).max() < _ZERO)


def _attempt(structure: _Structure, rng: np.random.Generator) -> tuple[Irrep, ...]:
    found = []
    for matrices, endomorphisms in _constituents(structure, rng):
        commuting = _commutant(matrices, endomorphisms, rng)
        basis = _sparse_basis(structure, matrices, commuting)
        matrices = _frozen(_snap(basis.T @ matrices @ basis, structure))
        rows = tuple(range(0, matrices.shape[-1], endomorphisms))
        found.append(Irrep(matrices, endomorphisms, rows))

    def rank(irrep: Irrep):
        character = np.trace(irrep.matrices, axis1=1, axis2=2)
        return irrep.dimension, irrep.endomorphisms, tuple(-np.round(character, 6))

    return tuple(sorted(found, key=rank))


def _constituents(
    structure: _Structure, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, int]]:
    """The irreps, each once and in some basis, with their endomorphisms.

    (L_g f)(h) = f(g^-1 h) acts on the functions on the group. A matrix whose entry at (g, h)
    depends on g^-1 h alone commutes with it; a random symmetric one has irreducible eigenspaces.
    """
    table, order = structure.table, structure.order
    weights = rng.normal(size=order)
    weights = weights + weights[structure.inverse]
    known = []
    for space in _split([np.eye(order)], weights[table[structure.inverse]], 1):
        character = (space @ space.T)[np.arange(order), table].sum(1)
        if any(abs(character @ other) > order / 2 for other in known):
            continue
        known.append(character)
        norm = character @ character / order
        endomorphisms = round(norm)
        if endomorphisms not in (1, 2, 4) or abs(norm - endomorphisms) > _GAP:
            raise _DegenerateError(f"a character has the norm {norm:g}")
        # <e_i, L_g e_j> = sum_h e_i(gh) e_j(h): an error in the subspace enters squared.
        yield space[table].transpose(0, 2, 1) @ space, endomorphisms


def _commutant(
    matrices: np.ndarray, endomorphisms: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Orthonormal imaginary units of what commutes with an irrep: none, [J], or [I, J, I J]."""
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
        if not np.allclose(mean @ mean, -np.eye(d), rtol=0, atol=_ZERO):
            raise _DegenerateError("an eigenspace is not irreducible")
        return mean

    i = unit()
    if endomorphisms == 2:
        # Which of J and -J: the first element to tell them apart turns towards J.
        turning = np.tensordot(matrices, i, 2)
        return [i if turning[np.argmax(np.abs(turning) > _GAP)] > 0 else -i]
    j = unit(i)
    return [i, j, i @ j]


def _sparse_basis(
    structure: _Structure, matrices: np.ndarray, commuting: list[np.ndarray]
) -> np.ndarray:
    """The basis, of those tried, in which the matrices have the fewest nonzeros."""
    order, d, _ = matrices.shape
    fewest, best = math.inf, np.eye(len(matrices[0]))
    for lines in _decompositions(structure, matrices, commuting):
        basis = _basis(matrices, commuting, lines)
        nonzeros = np.count_nonzero(np.abs(basis.T @ matrices @ basis) > _ZERO)
        if nonzeros < fewest:
            fewest, best = nonzeros, basis
        if nonzeros == order * d:  # one in each row, the least there can be
            break
    return best


def _decompositions(
    structure: _Structure, matrices: np.ndarray, commuting: list[np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """Ways to split the space into lines over the commutant, each line real ``[d, e]``.

    The space is split into eigenspaces of one element after the other, preferably of elements
    that commute with those before, of small order first. Conjugate beginnings are equivalent.
    """
    least = len(commuting) + 1
    whole = [np.eye(matrices.shape[-1])]
    by_order = sorted(range(structure.order), key=lambda g: (structure.orders[g], g))
    commute = structure.table == structure.table.T

    def finer(spaces: list[np.ndarray], g: int) -> list[np.ndarray]:
        forth, back = matrices[g], matrices[g].T
        spaces = _split(spaces, (forth + back) / 2, least)
        if len(commuting) == 1:  # tells the eigenvalue exp(it) from exp(-it)
            spaces = _split(spaces, commuting[0] @ (back - forth) / 2, least)
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
            raise _DegenerateError("a representation is not irreducible")
        if stuck:  # together, all elements split every space that is not a line
            yield from continued(spaces, by_order)

    if whole[0].shape[1] == least:
        yield whole
        return
    for first in by_order:
        if first in structure.leaders and len(split := finer(whole, first)) > 1:
            allowed = [g for g in by_order if commute[first, g]]
            yield from itertools.islice(continued(split, allowed), _LEAVES)


def _basis(
    matrices: np.ndarray, commuting: list[np.ndarray], lines: list[np.ndarray]
) -> np.ndarray:
    """The basis v_1, J v_1, v_2, J v_2 ... with v_i in ``lines[i]``: orthogonal ``[d, d]``.

    v_i is where an element takes v_1, as far as that is in its line, so that phases and signs do
    not depend on the random numbers.
    """
    # The sign of v_i is all there is to choose over the real numbers, and the first image gives
    # it; otherwise an image that is in the line altogether leaves the most zeros.
    close = 1 - _ZERO if commuting else _GAP
    images = matrices @ lines[0][:, 0]
    vectors = [lines[0][:, 0]] + [line @ _first(images @ line, close) for line in lines[1:]]
    if len(commuting) == 3:
        # Any two perpendicular imaginary units serve as I and J: those the group itself moves by.
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
    """The first vector at least ``close`` times as long as the longest, at unit length."""
    lengths = np.linalg.norm(vectors, axis=1)
    first = np.argmax(lengths >= close * lengths.max())
    if not lengths[first] > _GAP:
        raise _DegenerateError("a representation is not irreducible")
    return vectors[first] / lengths[first]


def _split(spaces: list[np.ndarray], operator: np.ndarray, least: int) -> list[np.ndarray]:
    """The eigenspaces of a symmetric ``operator`` restricted to each of ``spaces``.

    Spaces are orthonormal columns. Those of dimension ``least`` are left alone. Eigenvalues
    descend.
    """
    parts = []
    for space in spaces:
        if space.shape[1] == least:
            parts.append(space)
            continue
        values, vectors = np.linalg.eigh(space.T @ operator @ space)
        cuts = np.flatnonzero(-np.diff(values[::-1]) > _GAP) + 1
        parts += np.split(space @ vectors[:, ::-1], cuts, axis=1) if len(cuts) else [space]
    return parts


def _snap(matrices: np.ndarray, structure: _Structure) -> np.ndarray:
    """Entries within 1e-12 of 0, 1/2, 1, a root of 1/2 or 3/4, or the cosine or sine of an angle
    by which an element may turn, replaced by that value."""
    quarter = math.lcm(*structure.orders.tolist())
    exact = np.array([0, 0.5, math.sqrt(2) / 2, math.sqrt(3) / 2, 1])
    cosines = np.cos(np.pi / 2 * np.arange(quarter + 1) / quarter)
    new = np.abs(cosines[:, None] - exact).min(1) > _ZERO
    values = np.sort(np.concatenate([exact, cosines[new]]))
    size = np.abs(matrices)
    above = np.searchsorted(values, size).clip(1, len(values) - 1)
    nearest = np.where(
        size - values[above - 1] < values[above] - size, values[above - 1], values[above]
    )
    snapped = np.where(np.abs(size - nearest) < 1e-12, np.copysign(nearest, matrices), matrices)
    return snapped + 0.0  # no negative zeros


def _fourier(irreps: tuple[Irrep, ...]) -> np.ndarray:
    order = len(irreps[0].matrices)
    return np.concatenate(
        [
            math.sqrt(irrep.dimension / order) * irrep.matrices[:, irrep.rows].reshape(order, -1).T
            for irrep in irreps
        ]
    )


def _check(structure: _Structure, irreps: tuple[Irrep, ...]) -> None:
    """_DegenerateError unless these are homomorphisms and their functions an orthogonal basis."""
    if not all(structure.is_homomorphism(irrep.matrices) for irrep in irreps):
        raise _DegenerateError("the matrices do not multiply as the elements do")
    rows = _fourier(irreps)
    if len(rows) != structure.order:
        raise _DegenerateError(f"the representations have {len(rows)} functions")
    if np.abs(rows @ rows.T - np.eye(structure.order)).max() > _ZERO:
        raise _DegenerateError("the functions are not orthogonal")


def _frozen(table: np.ndarray) -> np.ndarray:
    table.setflags(write=False)
    return table
