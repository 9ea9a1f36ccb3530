"""The irreducible representations, computed from tables, against definitions and known facts."""

import dataclasses
import math
import time

import numpy as np
import pytest

from gconv_jax import P4, P4M, Z2, cyclic, dihedral, mirror, trivial
from gconv_jax.groups.irreps import Irrep, fourier_matrix, irreps_of_table, real_irreps
from tests.groups.tables import COMPUTED, SHEARS, TABLES, matrices

every_table = pytest.mark.parametrize("name", TABLES)

# The dimension, type and number of representations, in order, from character tables.
TYPES = {
    "C1": [(1, 1)],
    "C2": [(1, 1)] * 2,
    "C4": [(1, 1)] * 2 + [(2, 2)],
    "C7": [(1, 1)] + [(2, 2)] * 3,
    "D4": [(1, 1)] * 4 + [(2, 1)],
    "D5": [(1, 1)] * 2 + [(2, 1)] * 2,
    "S3": [(1, 1)] * 2 + [(2, 1)],
    "A4": [(1, 1), (2, 2), (3, 1)],
    "S4": [(1, 1)] * 2 + [(2, 1)] + [(3, 1)] * 2,
    "A5": [(1, 1), (3, 1), (3, 1), (4, 1), (5, 1)],
    "S5": [(1, 1)] * 2 + [(4, 1)] * 2 + [(5, 1)] * 2 + [(6, 1)],
    "octahedral": [(1, 1)] * 2 + [(2, 1)] + [(3, 1)] * 2,
    "full-octahedral": [(1, 1)] * 4 + [(2, 1)] * 2 + [(3, 1)] * 4,
    "Q8": [(1, 1)] * 4 + [(4, 4)],
    "SL(2,3)": [(1, 1), (2, 2), (3, 1), (4, 2), (4, 4)],
    "F20": [(1, 1)] * 2 + [(2, 2), (4, 1)],
    "F21": [(1, 1), (2, 2), (6, 2)],
}


def functions(irreps: tuple[Irrep, ...]) -> np.ndarray:
    """All rho_ij with i in ``rows``, one by one: [functions, order]."""
    return np.array(
        [
            irrep.matrices[:, i, j]
            for irrep in irreps
            for i in irrep.rows
            for j in range(irrep.dimension)
        ]
    )


def transform(f: np.ndarray, irrep: Irrep) -> np.ndarray:
    """f^ in all rows, by the definition."""
    return sum(f[s] * irrep.matrices[s] for s in range(len(f)))


def homomorphism_error(table: np.ndarray, rho: np.ndarray) -> float:
    products = np.einsum("gij,hjk->ghik", rho, rho)
    return np.abs(products - rho[table]).max()


@every_table
def test_every_irrep_is_an_orthogonal_homomorphism(name):
    table = TABLES[name]
    for irrep in COMPUTED[name]:
        d = irrep.dimension
        assert irrep.matrices.shape == (len(table), d, d)
        assert irrep.matrices.dtype == np.float64
        assert homomorphism_error(table, irrep.matrices) < 2e-14
        squares = irrep.matrices @ irrep.matrices.transpose(0, 2, 1)
        np.testing.assert_allclose(squares, np.broadcast_to(np.eye(d), squares.shape), atol=2e-14)
        with pytest.raises(ValueError, match="read-only"):
            irrep.matrices[0] = 0


@every_table
def test_the_functions_are_an_orthogonal_basis(name):
    order, irreps = len(TABLES[name]), COMPUTED[name]
    assert sum(irrep.dimension**2 // irrep.endomorphisms for irrep in irreps) == order
    rows = functions(irreps)
    assert rows.shape == (order, order)
    norms = [order / irrep.dimension for irrep in irreps for _ in irrep.rows * irrep.dimension]
    np.testing.assert_allclose(rows @ rows.T, np.diag(norms), atol=1e-12 * order, rtol=0)
    unit = rows / np.sqrt(norms)[:, None]
    np.testing.assert_allclose(unit @ unit.T, np.eye(order), atol=1e-12, rtol=0)


@every_table
def test_the_commutant_has_the_dimension_stated(name):
    """Counted as the matrices that the mean over the group keeps, not from the character."""
    for irrep in COMPUTED[name]:
        e, d, rho = irrep.endomorphisms, irrep.dimension, irrep.matrices
        mean = np.einsum("gij,gkl->ikjl", rho, rho).reshape(d * d, d * d) / len(rho)
        np.testing.assert_allclose(mean @ mean, mean, atol=1e-12)
        assert np.linalg.matrix_rank(mean, tol=1e-6) == e
        assert irrep.rows == tuple(range(0, d, e))
        assert irrep.cost == d // e * d * d
        # In the basis v, Jv ... or v, Iv, Jv, IJv ... the units themselves are block diagonal.
        units = {
            1: [],
            2: [[[0, -1], [1, 0]]],
            4: [
                [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
                [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
            ],
        }
        for unit in units[e]:
            structure = np.kron(np.eye(d // e), unit)
            np.testing.assert_allclose(rho @ structure, structure @ rho, atol=1e-12)


@pytest.mark.parametrize("name", TYPES)
def test_dimensions_and_types(name):
    irreps = COMPUTED[name]
    assert [(irrep.dimension, irrep.endomorphisms) for irrep in irreps] == TYPES[name]


@every_table
def test_the_trivial_one_comes_first(name):
    irreps = COMPUTED[name]
    np.testing.assert_array_equal(irreps[0].matrices, np.ones((len(TABLES[name]), 1, 1)))
    dimensions = [irrep.dimension for irrep in irreps]
    assert dimensions == sorted(dimensions)


@pytest.mark.parametrize("n", range(1, 13))
def test_cyclic_and_dihedral_are_the_rotations(n):
    """Frequencies in order; dihedral(n) mirrors the second axis, as the group itself does."""
    angles = 2 * np.pi * np.arange(n) / n
    turning = [irrep.matrices for irrep in real_irreps(cyclic(n)) if irrep.dimension == 2]
    mirroring = [irrep.matrices for irrep in real_irreps(dihedral(n)) if irrep.dimension == 2]
    assert len(turning) == len(mirroring) == (n - 1) // 2
    flip = np.diag([1, -1])
    for k, rho in enumerate(turning, start=1):
        cos, sin = np.cos(k * angles), np.sin(k * angles)
        k_turns = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        np.testing.assert_allclose(rho, k_turns, atol=1e-14)
        np.testing.assert_allclose(
            mirroring[k - 1], np.concatenate([k_turns, k_turns @ flip]), atol=1e-14
        )
    if n in (4, 6, 8):
        np.testing.assert_allclose(mirroring[0], dihedral(n).matrices, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "cost"), [("C4", 6), ("D4", 12), ("octahedral", 64), ("full-octahedral", 128)]
)
def test_cost(name, cost):
    assert sum(irrep.cost for irrep in COMPUTED[name]) == cost


@every_table
def test_correlation_is_a_product_of_matrices(name):
    """The law of the module's docstring, with the rows alone, against a loop over elements."""
    table, irreps = TABLES[name], COMPUTED[name]
    order = len(table)
    x, psi = np.random.default_rng(0).normal(size=(2, order))
    y = np.zeros(order)
    for r in range(order):
        for t in range(order):  # s = r t
            y[r] += x[table[r, t]] * psi[t]
    back = np.zeros(order)
    for irrep in irreps:
        rows = list(irrep.rows)
        x_hat, psi_hat = transform(x, irrep)[rows], transform(psi, irrep)
        y_hat = x_hat @ psi_hat.T
        np.testing.assert_allclose(y_hat, transform(y, irrep)[rows], atol=1e-11)
        for i, row in enumerate(rows):
            for j in range(irrep.dimension):
                weight = irrep.dimension / order * y_hat[i, j]
                back += weight * irrep.matrices[:, row, j]
    np.testing.assert_allclose(back, y, atol=1e-11)


def test_all_rows_of_a_complex_type_are_no_basis():
    """Negative control: the functions of the other rows are the same again."""
    (turn,) = (irrep for irrep in COMPUTED["C4"] if irrep.dimension == 2)
    wrong = dataclasses.replace(turn, rows=(0, 1))
    rows = functions((*COMPUTED["C4"][:2], wrong))
    assert len(rows) == 6
    assert np.linalg.matrix_rank(rows) == 4


GROUPS = [Z2, P4, P4M, mirror(), mirror(1), trivial(1), cyclic(7), dihedral(6), P4M.subgroup(5)]


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_fourier_matrix(group):
    f = np.random.default_rng(1).normal(size=group.order)
    expected = [
        math.sqrt(irrep.dimension / group.order) * transform(f, irrep)[i, j]
        for irrep in real_irreps(group)
        for i in irrep.rows
        for j in range(irrep.dimension)
    ]
    fourier = fourier_matrix(group)
    assert fourier.dtype == np.float64
    np.testing.assert_allclose(fourier @ f, expected, atol=1e-13)
    np.testing.assert_allclose(fourier @ fourier.T, np.eye(group.order), atol=1e-13)
    assert fourier_matrix(group) is fourier
    assert real_irreps(group) is real_irreps(group)
    with pytest.raises(ValueError, match="read-only"):
        fourier[0] = 0


@every_table
def test_two_computations_are_equal(name):
    again = irreps_of_table(TABLES[name].astype(np.int32))
    for one, other in zip(COMPUTED[name], again, strict=True):
        np.testing.assert_array_equal(one.matrices, other.matrices)
        assert (one.endomorphisms, one.rows) == (other.endomorphisms, other.rows)


@pytest.mark.parametrize("name", ["C5", "D8", "A5", "full-octahedral", "Q8", "SL(2,3)", "F21"])
def test_the_random_numbers_do_not_matter(name, monkeypatch):
    generator = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: generator(100 + seed))
    for one, other in zip(COMPUTED[name], irreps_of_table(TABLES[name]), strict=True):
        np.testing.assert_allclose(one.matrices, other.matrices, atol=1e-12)


def test_the_numbering_does_not_matter():
    """Not even that the identity is element 0."""
    table = TABLES["octahedral"]
    new = np.random.default_rng(2).permutation(len(table))  # the new index of each element
    renumbered = np.empty_like(table)
    renumbered[np.ix_(new, new)] = new[table]
    assert not (renumbered[0] == np.arange(len(table))).all()
    irreps = irreps_of_table(renumbered)
    assert [(irrep.dimension, irrep.endomorphisms) for irrep in irreps] == TYPES["octahedral"]
    assert all(homomorphism_error(renumbered, irrep.matrices) < 1e-14 for irrep in irreps)


@pytest.mark.parametrize("name", ["C1", "C2", "C4", "D2", "D4", "Q8"])
def test_all_are_signed_permutations(name):
    for irrep in COMPUTED[name]:
        assert set(np.unique(irrep.matrices)) <= {-1.0, 0.0, 1.0}
        assert (np.count_nonzero(irrep.matrices, axis=2) == 1).all()


@pytest.mark.parametrize("name", ["octahedral", "full-octahedral", "A4", "S4"])
def test_three_dimensional_ones_are_signed_permutations(name):
    for irrep in COMPUTED[name]:
        if irrep.dimension == 3:
            assert set(np.unique(irrep.matrices)) == {-1.0, 0.0, 1.0}
            assert (np.count_nonzero(irrep.matrices, axis=2) == 1).all()
        if irrep.dimension == 2:
            assert set(np.unique(np.abs(irrep.matrices))) == {0.0, 0.5, math.sqrt(3) / 2, 1.0} or (
                name == "A4"  # only the turns
            )
            assert np.count_nonzero(irrep.matrices) == len(irrep.matrices) * (2 + 8) / 3


@every_table
def test_exact_values_are_exact(name):
    """Whatever is a whole or half number up to rounding is that number, without the rounding."""
    for irrep in COMPUTED[name]:
        doubled = 2 * irrep.matrices
        near = np.abs(doubled - np.rint(doubled)) < 1e-9
        np.testing.assert_array_equal(doubled[near], np.rint(doubled)[near])
        assert not np.signbit(irrep.matrices[irrep.matrices == 0]).any()


def test_order_120_is_quick():
    sl25 = matrices(*SHEARS, modulo=5)
    assert len(sl25) == 120
    started = time.perf_counter()
    irreps = irreps_of_table(sl25)
    assert time.perf_counter() - started < 10, "it takes 0.6 s on an idle core"
    dimensions = [(irrep.dimension, irrep.endomorphisms) for irrep in irreps]
    real = [(1, 1), (3, 1), (3, 1), (4, 1), (5, 1)]
    assert sorted(dimensions) == sorted([*real, (4, 4), (4, 4), (8, 4), (12, 4)])
    assert all(homomorphism_error(sl25, irrep.matrices) < 2e-14 for irrep in irreps)


def test_irreps_are_immutable_and_print_without_matrices():
    irrep = real_irreps(P4M)[-1]
    assert repr(irrep) == "Irrep(endomorphisms=1, rows=(0, 1))"
    with pytest.raises(AttributeError):
        irrep.rows = (0,)
