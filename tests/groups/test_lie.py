"""SO(2) and O(2): the group axioms, exp and log, and that samples are Haar distributed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import O2, P4, P4M, SO2, cyclic, dihedral, mirror, octahedral
from gconv_jax.groups.lie import check_planar_group

both = pytest.mark.parametrize("group", [SO2(), O2()], ids=repr)


@both
def test_products_and_inverses(x64, group):
    a, b, c = (group.sample(jax.random.key(i), 50) for i in range(3))
    np.testing.assert_allclose(
        group.product(group.product(a, b), c), group.product(a, group.product(b, c)), atol=1e-14
    )
    identity = np.broadcast_to(group.identity, a.shape)
    np.testing.assert_allclose(group.product(a, group.inverse(a)), identity, atol=1e-14)
    np.testing.assert_array_equal(
        group.is_mirrored(group.product(a, b)), group.is_mirrored(a) != group.is_mirrored(b)
    )
    assert group.is_mirrored(a).any() == group.reflections


@both
def test_exp_and_log_invert_each_other(x64, group):
    angles = jnp.linspace(-3.1, 3.1, 41)
    np.testing.assert_allclose(group.log(group.exp(angles)), angles, atol=1e-14)
    sums = group.product(group.exp(angles), group.exp(0.7))
    np.testing.assert_allclose(sums, group.exp(angles + 0.7), atol=1e-14)
    np.testing.assert_allclose(group.exp(angles + 2 * jnp.pi), group.exp(angles), atol=1e-14)


def test_a_quarter_turn_is_that_of_arrays():
    """The right, column +1, goes to the top, row -1."""
    moved = np.asarray(SO2().exp(jnp.pi / 2)) @ [0, 1]
    np.testing.assert_allclose(moved, [-1, 0], atol=1e-6)


@pytest.mark.parametrize("n", range(1, 17))
def test_grids_are_the_finite_subgroups(x64, n):
    np.testing.assert_array_equal(SO2().grid(n), cyclic(n).matrices)
    np.testing.assert_array_equal(O2().grid(2 * n), dihedral(n).matrices)
    np.testing.assert_allclose(SO2().grid(n, 0.3)[0], SO2().exp(0.3), atol=1e-15)


@both
@pytest.mark.parametrize("draw", ["sample", "stratified"])
def test_samples_are_haar_distributed(group, draw):
    """All Fourier coefficients of the distribution vanish, on both components."""
    keys = jax.random.split(jax.random.key(0), 2000)
    elements = jax.vmap(lambda key: getattr(group, draw)(key, 4))(keys)
    angle, mirrored = np.asarray(group.log(elements)), np.asarray(group.is_mirrored(elements))
    for part in (mirrored, ~mirrored) if group.reflections else (~mirrored,):
        assert abs(part.mean() - 1 / (1 + group.reflections)) < 0.02
        for frequency in range(1, 6):
            assert abs((np.exp(1j * frequency * angle) * part).mean()) < 0.05


def test_a_stratified_sample_sees_low_frequencies_exactly(x64):
    """Frequencies below the number of elements are exact; the next one depends on the offset."""
    elements = SO2().stratified(jax.random.key(3), 8)
    waves = np.exp(1j * np.arange(1, 9)[:, None] * np.asarray(SO2().log(elements)))
    np.testing.assert_allclose(waves[:7].mean(-1), 0, atol=1e-14)
    assert abs(waves[7].mean()) > 0.99


def test_groups_are_values():
    assert SO2() == SO2() != O2()
    assert len({SO2(), SO2(), O2()}) == 2
    assert (SO2().lattice, O2().lattice) == (P4, P4M)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SO2().grid(0), ValueError, "`samples` must be at least 1 for SO2"),
        (lambda: O2().grid(7), ValueError, "`samples` must be even, half of them mirrored, for O2"),
        (lambda: SO2().grid(2.0), TypeError, "`samples` must be an integer, got 2.0"),
        (lambda: check_planar_group("p4"), TypeError, "`group` must be SO2"),
        (lambda: check_planar_group(SO2), TypeError, "got <function SO2"),
        (
            lambda: check_planar_group(octahedral()),
            ValueError,
            r"`group` must act on the plane, got octahedral\(\) of dimension 3$",
        ),
        (
            lambda: check_planar_group(mirror(1)),
            ValueError,
            r"`group` must act on the plane, got mirror\(dimension=1\) of dimension 1$",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
