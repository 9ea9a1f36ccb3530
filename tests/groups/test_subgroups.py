"""Subgroups and their cosets."""

import itertools

import numpy as np
import pytest

from gconv_jax import P4, P4M, Z2, cyclic, dihedral, mirror, trivial

PARENTS = [Z2, P4, P4M, cyclic(6), cyclic(12), dihedral(3), dihedral(6), mirror(1)]
# Two generators give every subgroup of a cyclic or dihedral group.
PAIRS = [
    (parent, sub)
    for parent in PARENTS
    for sub in dict.fromkeys(
        parent.subgroup(*pair)
        for pair in itertools.combinations_with_replacement(parent.elements, 2)
    )
]
every_pair = pytest.mark.parametrize(("group", "sub"), PAIRS, ids=repr)


def test_all_subgroups_are_found():
    """The known counts: one for each divisor of n, and sigma(n) + tau(n) for the dihedral ones."""
    counts = {parent: sum(group == parent for group, _ in PAIRS) for parent in PARENTS}
    expected = [1, 3, 10, 4, 6, 6, 16, 2]
    assert list(counts.values()) == expected


@every_pair
def test_subgroup_is_a_subset_closed_under_products(group, sub):
    members = group.indices(sub)
    assert members.dtype == np.int64
    assert len(set(members)) == sub.order
    assert group.identity in members
    np.testing.assert_allclose(group.matrices[members], sub.matrices, atol=1e-15)
    # The products are those of the parent, in the subgroup's own numbering.
    np.testing.assert_array_equal(group.cayley[np.ix_(members, members)], members[sub.cayley])
    np.testing.assert_array_equal(group.inverse[members], members[sub.inverse])


@every_pair
@pytest.mark.parametrize("side", ["left", "right"])
def test_cosets_partition_the_group(group, sub, side):
    cosets = group.cosets(sub, side=side)
    assert cosets.shape == (group.order // sub.order, sub.order)
    assert sorted(cosets.ravel()) == list(group.elements)
    first = cosets.min(axis=1)
    assert list(first) == sorted(first), "rows are sorted by their representative"
    for coset, g in zip(cosets, first, strict=True):
        products = [
            group.cayley[g, h] if side == "left" else group.cayley[h, g] for h in group.indices(sub)
        ]
        assert list(coset) == products, "in the order of the subgroup's elements"


@every_pair
def test_left_cosets_are_permuted_by_the_group(group, sub):
    cosets = {frozenset(coset) for coset in group.cosets(sub)}
    for g in group.elements:
        assert {frozenset(group.cayley[g, list(coset)]) for coset in cosets} == cosets


def test_sides_differ_for_a_mirror_in_p4m():
    """The subgroup that tells coset pooling apart from its mistaken twin (it is not normal)."""
    left = {frozenset(coset) for coset in P4M.cosets(mirror())}
    right = {frozenset(coset) for coset in P4M.cosets(mirror(), side="right")}
    assert left != right
    assert not all(
        {frozenset(P4M.cayley[g, list(coset)]) for coset in right} == right for g in P4M.elements
    )


def test_generators():
    assert P4M.subgroup() == Z2
    assert P4M.subgroup(0) == Z2
    assert P4M.subgroup(1) == P4
    assert P4M.subgroup(3, 4) == P4M
    assert P4M.subgroup(2, 4) == dihedral(2)
    assert P4M.subgroup(4) == mirror()
    assert cyclic(12).subgroup(8) == cyclic(3)
    assert mirror(1).subgroup(0) == trivial(1)
    assert P4.subgroup(np.int64(2)) == cyclic(2)


def test_a_subgroup_need_not_come_first():
    np.testing.assert_array_equal(P4.indices(cyclic(2)), [0, 2])
    np.testing.assert_array_equal(P4M.indices(P4M.subgroup(2, 5)), [0, 2, 5, 7])
    np.testing.assert_array_equal(P4M.indices(P4M), range(8))
