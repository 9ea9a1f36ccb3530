"""The correlation over a finite group as matrix products between Fourier transforms.

In the Fourier basis of `gconv_jax.groups.irreps`, the correlation ``y(r) = sum_s x(s) psi(r^-1 s)``
is one product of small real matrices for each irrep. An irrep of complex type stands for matrices
of complex numbers, of half the size. Three real products give a complex one (Gauss), in place of
the four that its real matrices take::

    (a + i b)(p - i q) = p (a + b) + b (q - p)  +  i (p (a + b) - a (p + q))

So P4 takes 5 multiplications in place of 6, and of the 16 without a transform.
"""

import functools
from dataclasses import dataclass, field

import numpy as np

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irreps import Irrep, real_irreps
from gconv_jax.ops.frozen import freeze_array

COMPLEX = 2  # the dimension of the commutant of an irrep of complex type


@dataclass(frozen=True, eq=False)
class CorrelationProduct:
    """One of the matrix products that the correlation over a group consists of.

    The correlation is the sum over all products of::

        y(r) = sum_{i, j} result[i, j, r] sum_k x^[i, k] psi^[j, k]
        x^[i, k] = sum_s left[i, k, s] x(s)        psi^[j, k] = sum_u right[j, k, u] psi(u)

    with i in 0 ... rows - 1 and j, k in 0 ... dimension - 1. All arrays are read-only float64.
    """

    left: np.ndarray = field(repr=False)
    """``[rows, dimension, order]``, for features."""
    right: np.ndarray = field(repr=False)
    """``[dimension, dimension, order]``, for filters."""
    result: np.ndarray = field(repr=False)
    """``[rows, dimension, order]``, for results."""

    @property
    def rows(self) -> int:
        """The number of rows of the left factor."""
        return self.left.shape[0]

    @property
    def dimension(self) -> int:
        """The size of the right factor, a square."""
        return self.left.shape[1]

    @property
    def cost(self) -> int:
        """Real multiplications for one pair of channels."""
        return self.rows * self.dimension**2


@functools.cache
def correlation_products(group: FiniteGroup) -> tuple[CorrelationProduct, ...]:
    """Return the matrix products of the correlation over ``group``, in the order of its irreps.

    >>> from gconv_jax import P4, P4M
    >>> [sum(product.cost for product in correlation_products(group)) for group in (P4, P4M)]
    [5, 12]
    """
    return tuple(product for irrep in real_irreps(group) for product in products_of(irrep))


def multiplications(group: FiniteGroup) -> int:
    """Return the real multiplications of the correlation for one pair of channels, against |G|^2
    without the transform."""
    return sum(product.cost for product in correlation_products(group))


def products_of(irrep: Irrep) -> list[CorrelationProduct]:
    """Return the products of one irrep."""
    matrices = np.moveaxis(irrep.matrices, 0, -1)  # [i, k, s]
    rows = matrices[list(irrep.rows)]
    scaled = matrices * (irrep.dimension / matrices.shape[-1])
    if irrep.endomorphisms != COMPLEX:
        return [_product(rows, scaled, rows)]
    # The basis is v_1, J v_1, v_2, J v_2, ...
    a, b = rows[:, ::2], rows[:, 1::2]
    p, q = scaled[::2, ::2], scaled[::2, 1::2]
    return [_product(a + b, p, a + b), _product(b, q - p, a), _product(a, p + q, -b)]


def _product(*arrays: np.ndarray) -> CorrelationProduct:
    return CorrelationProduct(*(freeze_array(np.ascontiguousarray(array)) for array in arrays))
