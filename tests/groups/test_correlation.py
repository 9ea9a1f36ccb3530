"""The matrix products that a correlation over a group consists of."""

import numpy as np
import pytest

from gconv_jax import P4, P4M, cyclic, octahedral
from gconv_jax.groups.correlation import (
    CorrelationProduct,
    correlation_products,
    multiplications,
    products_of,
)
from tests.groups.tables import COMPUTED, TABLES


def correlation(table: np.ndarray, x: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """``y(r) = sum_s x(s) psi(r^-1 s)``, from the multiplication table alone."""
    y = np.zeros_like(x)
    for r, row in enumerate(table):  # row[u] = r u = s
        y[r] = sum(x[s] * psi[u] for u, s in enumerate(row))
    return y


def by_products(products: list[CorrelationProduct], x: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """The same as the docstring of the class has it."""
    y = np.zeros_like(x)
    for product in products:
        x_hat, psi_hat = product.left @ x, product.right @ psi
        y += np.einsum("ik,jk,ijr->r", x_hat, psi_hat, product.result)
    return y


@pytest.mark.parametrize("name", TABLES)
def test_they_add_up_to_the_correlation(name, rng):
    x, psi = rng.normal(size=(2, len(TABLES[name])))
    products = [product for irrep in COMPUTED[name] for product in products_of(irrep)]
    expected = correlation(TABLES[name], x, psi)
    np.testing.assert_allclose(by_products(products, x, psi), expected, rtol=0, atol=1e-12)


def test_a_product_left_out_is_noticed(rng):
    """Negative control, as is the exchange of features and results."""
    x, psi = rng.normal(size=(2, 5))
    products = [product for irrep in COMPUTED["C5"] for product in products_of(irrep)]
    expected = correlation(TABLES["C5"], x, psi)
    assert [product.cost for product in products] == [1] * 7
    for i in range(len(products)):
        wrong = by_products(products[:i] + products[i + 1 :], x, psi)
        assert np.abs(wrong - expected).max() > 1e-3
    exchanged = [CorrelationProduct(p.result, p.right, p.left) for p in products]
    assert np.abs(by_products(exchanged, x, psi) - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("group", "cost"), [(P4, 5), (P4M, 12), (cyclic(8), 11), (cyclic(6), 8), (octahedral(), 64)]
)
def test_multiplications(group, cost):
    assert multiplications(group) == cost
    assert correlation_products(group) is correlation_products(group)


def test_they_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        correlation_products(P4)[0].left[0, 0, 0] = 2
