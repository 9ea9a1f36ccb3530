"""Irreducible representations that must not be returned: of no group, wrong, or incomplete."""

import numpy as np
import pytest

from gconv_jax import P4, P4M
from gconv_jax.groups import irreps as irreps_module
from gconv_jax.groups.irreps import fourier_matrix, irreps_of_table, real_irreps
from tests.groups.tables import COMPUTED, TABLES


def changed(table: np.ndarray, *swaps: tuple[tuple[int, int], int]) -> np.ndarray:
    table = table.copy()
    for place, value in swaps:
        table[place] = value
    return table


# It has an identity, and 1 * 1 = 0, which no group of order 5 has.
LOOP = np.array(
    [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((2, 3), int), r"square table of integers.*shape \(2, 3\)"),
        (np.zeros((0, 0), int), r"square table of integers.*shape \(0, 0\)"),
        (np.zeros(4, int), "square table of integers"),
        (P4.cayley.astype(float), "square table of integers.*of float64"),
        (changed(P4.cayley, ((1, 3), 1)), "row or column that is not 0 ... 3 permuted"),
        (changed(P4.cayley, ((1, 3), 9)), "row or column that is not 0 ... 3 permuted"),
        (P4.cayley + 1, "row or column that is not 0 ... 3 permuted"),
        (P4.cayley[[1, 2, 0, 3]], "without an identity"),
        (LOOP, "not associative"),
    ],
)
def test_what_is_no_group_is_refused(table, message):
    with pytest.raises(ValueError, match="`cayley` must be") as error:
        irreps_of_table(table)
    assert error.match(message)


def test_what_is_no_FiniteGroup_is_refused():
    for function in (real_irreps, fourier_matrix):
        with pytest.raises(TypeError, match="`group` must be a FiniteGroup"):
            function("p4m")


def test_what_is_no_homomorphism_is_refused(monkeypatch):
    """Negative control: one wrong sign in one matrix and nothing is returned."""
    snap = irreps_module.snap

    def corrupted(matrices, structure):
        matrices = snap(matrices, structure)
        matrices[-1, 0] *= -1
        return matrices

    monkeypatch.setattr(irreps_module, "snap", corrupted)
    with pytest.raises(RuntimeError, match=r"order 8 .* do not multiply as the elements do"):
        irreps_of_table(P4M.cayley)


@pytest.mark.parametrize(
    ("indices", "message"),
    [([0, 1, 2, 4], "have 7 functions"), ([0, 1, 2, 2, 4], "functions are not orthogonal")],
)
def test_what_is_incomplete_is_refused(indices, message, monkeypatch):
    incomplete = tuple(COMPUTED["D4"][i] for i in indices)
    monkeypatch.setattr("gconv_jax.groups.irreps._attempt", lambda structure, rng: incomplete)
    with pytest.raises(RuntimeError, match=message):
        irreps_of_table(P4M.cayley)


class Zeros:
    """Random numbers for which all eigenvalues coincide."""

    def normal(self, size):
        return np.zeros(size)


@pytest.mark.parametrize("name", ["C2", "C3", "C4", "D2", "D4", "Q8", "A4"])
def test_degenerate_random_numbers_are_drawn_again(name, monkeypatch):
    generator, drawn = np.random.default_rng, []

    def unlucky(seed):
        drawn.append(seed)
        return generator(seed) if len(drawn) > 3 else Zeros()

    monkeypatch.setattr(np.random, "default_rng", unlucky)
    irreps = irreps_of_table(TABLES[name])
    assert len(drawn) == 4
    for one, other in zip(COMPUTED[name], irreps, strict=True):
        np.testing.assert_allclose(one.matrices, other.matrices, atol=1e-12)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Zeros())
    with pytest.raises(RuntimeError, match="no representations of the group of order"):
        irreps_of_table(TABLES[name])


class Averages:
    """Random weights that are equal for some elements: eigenspaces that are not irreducible."""

    def __init__(self, *weights: float):
        self.weights = [np.array(weights)]
        self.others = np.random.Generator(np.random.PCG64(0))

    def normal(self, size):
        return self.weights.pop() if self.weights else self.others.normal(size=size)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        # Two different real ones (norm 2, as of complex type), two complex ones (norm 4, as of
        # quaternionic type), both copies of one that is real (norm 4), and everything (norm 5).
        ("D2", [3, 1, 0, 0], "an eigenspace is not irreducible"),
        ("C8", [0, 1, 2, 1, 3, 1, 2, 1], "an eigenspace is not irreducible"),
        ("D4", [4, 3, 1, 3, 1, 0, 1, 0], "an eigenspace is not irreducible"),
        ("C5", [1, 0, 0, 0, 0], "a character has the norm 5"),
    ],
)
def test_reducible_eigenspaces_are_noticed(name, weights, message, monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Averages(*weights))
    with pytest.raises(RuntimeError, match=message):
        irreps_of_table(TABLES[name])
