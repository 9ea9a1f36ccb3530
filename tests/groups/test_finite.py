"""Finite groups: the axioms, the geometry of the elements, and their behavior as values."""

import copy
import itertools
import pickle
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    P4,
    P4M,
    Z2,
    cyclic,
    dihedral,
    full_octahedral,
    klein_four,
    mirror,
    octahedral,
    rotations_about,
    tetrahedral,
    transform,
    trivial,
)
from tests.helpers import CASES, every_case

EVERY_GROUP = [
    *(case.group for case in CASES),
    *(cyclic(n) for n in range(1, 17)),
    *(dihedral(n) for n in range(1, 13)),
    dihedral(6).subgroup(2, 7),
    dihedral(8).subgroup(9),
    trivial(dimension=3),
    mirror(dimension=3),
    *(rotations_about(axis) for axis in range(3)),
    klein_four(),
    tetrahedral(),
    octahedral(),
    full_octahedral(),
]
every_group = pytest.mark.parametrize("group", EVERY_GROUP, ids=repr)


@every_group
def test_axioms(group):
    table, e = group.cayley, group.identity
    every = np.arange(group.order)
    assert all(sorted(row) == list(every) for row in table), "closed, and every row a permutation"
    assert all(sorted(column) == list(every) for column in table.T)
    np.testing.assert_array_equal(table[table], table[:, table], "(gh)k == g(hk)")
    np.testing.assert_array_equal(table[e], every)
    np.testing.assert_array_equal(table[:, e], every)
    np.testing.assert_array_equal(table[every, group.inverse], e)
    np.testing.assert_array_equal(table[group.inverse, every], e)


@every_group
def test_matrices_are_an_orthogonal_homomorphism(group):
    m = group.matrices
    assert m.shape == (group.order, group.dimension, group.dimension)
    products = np.einsum("gij,hjk->ghik", m, m)
    np.testing.assert_allclose(products, m[group.cayley], atol=1e-14, rtol=0)
    np.testing.assert_allclose(m[group.inverse], m.transpose(0, 2, 1), atol=1e-14, rtol=0)
    # The action is faithful: no two elements are the same isometry.
    assert len(np.unique(np.round(m, 6), axis=0)) == group.order


@every_case
def test_elements_are_the_isometries_written_by_hand(case):
    assert case.group.order == case.order
    assert case.group.dimension == case.dimension
    np.testing.assert_array_equal(case.group.matrices, case.matrices)
    for g, h in itertools.product(range(case.order), repeat=2):
        assert case.group.cayley[g, h] == case.index(case.matrices[g] @ case.matrices[h])


@pytest.mark.parametrize("n", range(1, 17))
def test_cyclic_is_addition_of_angles(n):
    group = cyclic(n)
    r = np.arange(n)
    assert group.order == n
    assert group.dimension == 2
    np.testing.assert_array_equal(group.cayley, (r[:, None] + r) % n)
    np.testing.assert_array_equal(group.inverse, -r % n)
    angles = 2 * np.pi * r / n
    np.testing.assert_allclose(group.matrices[:, 0, 0], np.cos(angles), atol=1e-15)
    np.testing.assert_allclose(group.matrices[:, 1, 0], np.sin(angles), atol=1e-15)


@pytest.mark.parametrize("n", range(1, 13))
def test_dihedral_is_mirror_first_then_turn(n):
    group = dihedral(n)
    r, m = np.arange(2 * n) % n, np.arange(2 * n) // n
    assert group.order == 2 * n
    # F R = R^-1 F
    turn = (r[:, None] + np.where(m, -1, 1)[:, None] * r) % n
    np.testing.assert_array_equal(group.cayley, n * (m[:, None] ^ m) + turn)
    np.testing.assert_array_equal(group.inverse, np.where(m, np.arange(2 * n), -r % n))
    assert list(np.sign(np.linalg.det(group.matrices))) == [1] * n + [-1] * n


@every_group
def test_the_algebra_is_exact(group):
    """No float takes part in products, whose rounding would lose elements of n = 6, 8, 10 ..."""
    if group.dimension < 3:
        assert all(type(g.turn) is Fraction for g in group.isometries)
    assert group.cayley.dtype == np.int64
    assert group.inverse.dtype == np.int64
    assert group.matrices.dtype == (np.int64 if group.is_lattice else np.float64)


def test_groups_of_the_cube_are_all_there():
    """The definition: matrices with one +-1 in each row and column, by determinant.

    Some groups also ask whether they permute the diagonals evenly.
    """
    signs = [np.diag(s) for s in itertools.product((1, -1), repeat=3)]
    every = [s @ np.eye(3)[list(p)] for p in itertools.permutations(range(3)) for s in signs]
    diagonals = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)])

    def is_even(m):
        to = [int(np.flatnonzero(np.abs(diagonals @ (m @ d)) == 3)[0]) for d in diagonals]
        return np.linalg.det(np.eye(4)[to]) > 0

    rotations = [m for m in every if np.linalg.det(m) > 0]
    definitions = {
        full_octahedral(): every,
        octahedral(): rotations,
        tetrahedral(): [m for m in rotations if is_even(m)],
        klein_four(): [m for m in rotations if (m == np.diag(np.diag(m))).all()],
    }
    for group, matrices in definitions.items():
        assert {tuple(m.ravel()) for m in group.matrices} == {tuple(m.ravel()) for m in matrices}
        assert group.is_lattice
    assert [g.order for g in definitions] == [48, 24, 12, 4]


def test_rotations_about_an_axis_are_quarter_turns_of_the_others(rng, x64):
    x = rng.normal(size=(2, 3, 4, 5, 1))
    for axis, plane in enumerate([(2, 3), (1, 3), (1, 2)]):
        group = rotations_about(axis)
        g = group.identity
        for turns in range(4):
            turned = transform(jnp.asarray(x), group=group, element=g, lifted=False)
            np.testing.assert_array_equal(turned, np.rot90(x, turns, axes=plane))
            g = group.cayley[1, g]


def test_lattice_groups_are_those_of_the_square():
    lattice = [cyclic(1), cyclic(2), cyclic(4), dihedral(1), dihedral(2), dihedral(4)]
    assert all(group.is_lattice for group in [*lattice, trivial(1), mirror(1)])
    assert not any(cyclic(n).is_lattice for n in (3, 5, 6, 8, 12, 16))
    assert not any(dihedral(n).is_lattice for n in (3, 5, 6, 8, 12))
    assert cyclic(8).subgroup(2).is_lattice


@every_group
def test_tables_are_read_only(group):
    for table in (group.cayley, group.inverse, group.matrices):
        with pytest.raises(ValueError, match="read-only"):
            table[...] = 0


@every_group
def test_groups_are_values(group):
    for twin in (pickle.loads(pickle.dumps(group)), copy.deepcopy(group)):
        assert twin == group
        assert hash(twin) == hash(group)
        assert {group: "found"}[twin] == "found"
        np.testing.assert_array_equal(twin.cayley, group.cayley)
    with pytest.raises(AttributeError):
        group.dimension = 3


def test_equality_is_that_of_the_sets_of_isometries():
    assert cyclic(4) == P4
    assert dihedral(4) == P4M
    assert cyclic(1) == trivial() == Z2
    assert mirror() == dihedral(1)
    distinct = [*(case.group for case in CASES), cyclic(3), cyclic(8), dihedral(3)]
    assert len(set(distinct)) == len(distinct)
    assert all((a == b) == (a is b) for a, b in itertools.product(distinct, repeat=2))
    assert P4 != "p4"


def test_repr_is_what_one_would_type():
    named = {
        "Z2": Z2,
        "P4": P4,
        "cyclic(6)": cyclic(6),
        "dihedral(1)": mirror(),
        "P4M": P4M,
        "mirror(dimension=1)": mirror(dimension=1),
        "trivial(dimension=1)": trivial(dimension=1),
    }
    assert {text: eval(text) for text in named} == named
    assert [repr(group) for group in named.values()] == list(named)
    assert repr(P4M.subgroup(5)) == "FiniteGroup(e, r90·m)"
    assert len({repr(case.group) for case in CASES}) == len(CASES)


def test_element_names():
    assert [P4.element_name(g) for g in P4.elements] == ["e", "r90", "r180", "r270"]
    assert P4M.element_name(np.int64(7)) == "r270·m"
    assert cyclic(16).element_name(1) == "r22.5"


@pytest.mark.parametrize("group", [P4M, cyclic(16), mirror(), octahedral()], ids=repr)
def test_elements_have_the_names_that_are_printed(group):
    for g in group.elements:
        name = group.element_name(g)
        assert group.check_element(name) == group.check_element(name.replace("·", "")) == g


@every_group
def test_element_names_are_distinct(group):
    assert len({group.element_name(g) for g in group.elements}) == group.order


def test_tables_are_computed_once():
    assert dihedral(12).cayley is dihedral(12).cayley
    assert cyclic(5) is cyclic(5)


def test_group_is_a_static_argument_of_jit():
    traced = []

    def count(x, group):
        traced.append(group)
        return x

    jitted = jax.jit(count, static_argnames="group")
    for group in (P4, cyclic(4), pickle.loads(pickle.dumps(P4)), P4M.subgroup(1)):
        jitted(1.0, group=group)
    assert traced == [P4]
    jitted(1.0, group=dihedral(2))  # the same order, hence the same hash
    assert traced == [P4, dihedral(2)]
