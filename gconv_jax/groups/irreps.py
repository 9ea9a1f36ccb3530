"""The Fourier transform over a finite group: its real irreducible representations.

A representation rho gives every element g an orthogonal matrix with rho(g h) = rho(g) rho(h). The
irreducible ones cannot be split further, and every representation is a sum of them. They are
computed from the multiplication table; no character table is written down here.

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
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gconv_jax.groups.cayley_table import ZERO, CayleyTable
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_bases import (
    GAP,
    DegenerateError,
    commutant,
    snap,
    sparse_basis,
    split_spaces,
)
from gconv_jax.ops.frozen import freeze_array

_SEEDS = 8  # the attempts that are made, each with other random numbers


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
    """Return the real irreducible representations of ``group``, the trivial one first.

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
    """Return the Fourier transform F over ``group``: float64 ``[order, order]``, read-only.

    F is orthonormal. Its rows are the functions ``sqrt(d / |G|) rho_ij``, i in ``rows`` and all j.
    The irreps are in the order of `real_irreps`, i before j. F f is the transform of f, and F^T is
    the inverse of F::

        (F f)[rho, i, j] = sqrt(d / |G|) f^[i, j]

    >>> import numpy as np
    >>> from gconv_jax import P4
    >>> np.round(fourier_matrix(P4), 3)
    array([[ 0.5  ,  0.5  ,  0.5  ,  0.5  ],
           [ 0.5  , -0.5  ,  0.5  , -0.5  ],
           [ 0.707,  0.   , -0.707,  0.   ],
           [ 0.   , -0.707,  0.   ,  0.707]])
    """
    return freeze_array(_fourier(real_irreps(group)))


def irreps_of_table(cayley: np.ndarray) -> tuple[Irrep, ...]:
    """Return the real irreducible representations of the group with this multiplication table.

    ``cayley[g, h]`` is the index of the product gh, integers ``[order, order]``; the identity may
    be any element. The result has the order of `real_irreps`. ValueError if it is not the table of
    a group.

    The bases are chosen for sparse matrices: they are joint eigenvectors of commuting elements, and
    of those tried the ones that leave the fewest nonzeros. Zeros and cosines of the angles that
    occur are exact.

    >>> import numpy as np
    >>> addition_mod_3 = (np.arange(3)[:, None] + np.arange(3)) % 3
    >>> [(irrep.dimension, irrep.endomorphisms) for irrep in irreps_of_table(addition_mod_3)]
    [(1, 1), (2, 2)]
    """
    group_table = CayleyTable.checked(cayley)
    fault = None
    for seed in range(_SEEDS):
        try:
            irreps = _attempt(group_table, np.random.default_rng(seed))
            _check(group_table, irreps)
            return irreps
        except DegenerateError as error:
            fault = error
    raise RuntimeError(
        f"no representations of the group of order {group_table.order} were found with {_SEEDS} "
        f"sets of random numbers; at last, {fault}"
    )


def _attempt(group_table: CayleyTable, rng: np.random.Generator) -> tuple[Irrep, ...]:
    """Return the irreps that these random numbers lead to, sorted."""
    found = []
    for matrices, endomorphisms in _constituents(group_table, rng):
        commuting = commutant(matrices, endomorphisms, rng)
        basis = sparse_basis(group_table, matrices, commuting)
        matrices = freeze_array(snap(basis.T @ matrices @ basis, group_table))
        rows = tuple(range(0, matrices.shape[-1], endomorphisms))
        found.append(Irrep(matrices, endomorphisms, rows))

    def rank(irrep: Irrep):
        character = np.trace(irrep.matrices, axis1=1, axis2=2)
        return irrep.dimension, irrep.endomorphisms, tuple(-np.round(character, 6))

    return tuple(sorted(found, key=rank))


def _constituents(
    group_table: CayleyTable, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the irreps, each once and in some basis, with their endomorphisms.

    (L_g f)(h) = f(g^-1 h) acts on the functions on the group. A matrix whose entry at (g, h)
    depends on g^-1 h alone commutes with it; a random symmetric one has irreducible eigenspaces.
    """
    table, order = group_table.table, group_table.order
    weights = rng.normal(size=order)
    weights = weights + weights[group_table.inverse]
    known = []
    for space in split_spaces([np.eye(order)], weights[table[group_table.inverse]], 1):
        character = (space @ space.T)[np.arange(order), table].sum(1)
        if any(abs(character @ other) > order / 2 for other in known):
            continue
        known.append(character)
        norm = character @ character / order
        endomorphisms = round(norm)
        if endomorphisms not in (1, 2, 4) or abs(norm - endomorphisms) > GAP:
            raise DegenerateError(f"a character has the norm {norm:g}")
        # <e_i, L_g e_j> = sum_h e_i(gh) e_j(h): an error in the subspace enters squared.
        yield space[table].transpose(0, 2, 1) @ space, endomorphisms


def _fourier(irreps: tuple[Irrep, ...]) -> np.ndarray:
    """Return the functions of the irreps as orthonormal rows, if the irreps are complete."""
    order = len(irreps[0].matrices)
    return np.concatenate(
        [
            math.sqrt(irrep.dimension / order) * irrep.matrices[:, irrep.rows].reshape(order, -1).T
            for irrep in irreps
        ]
    )


def _check(group_table: CayleyTable, irreps: tuple[Irrep, ...]) -> None:
    """Raise `DegenerateError` unless these are all irreps of the group.

    They must be homomorphisms, and their functions an orthogonal basis.
    """
    if not all(group_table.is_homomorphism(irrep.matrices) for irrep in irreps):
        raise DegenerateError("the matrices do not multiply as the elements do")
    rows = _fourier(irreps)
    if len(rows) != group_table.order:
        raise DegenerateError(f"the representations have {len(rows)} functions")
    if np.abs(rows @ rows.T - np.eye(group_table.order)).max() > ZERO:
        raise DegenerateError("the functions are not orthogonal")
