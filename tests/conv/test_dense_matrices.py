"""Layers as matrices: ``W rho_in(g) == rho_out(g) W``, entry for entry.

Unlike the law on random inputs this leaves no direction of the input space untried.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import avg_pool, coset_pool, group_conv, group_pool, lift_conv, restrict, upsample
from tests.helpers import BY_NAME, act, assert_close, every_case, group_filter, lifting_filter

SIZE = 4


def representation(case, shape, g, *, lifted: bool) -> np.ndarray:
    """The matrix of L_g on arrays of ``shape``: its columns are the moved basis vectors."""
    basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return act(case, basis, g, lifted=lifted).reshape(len(basis), -1).T


def matrix(layer, shape) -> tuple[np.ndarray, tuple[int, ...]]:
    """The layer as a matrix, and the shape of its result."""
    jacobian = jax.jit(jax.jacobian(layer))(jnp.zeros(shape))
    out = jacobian.shape[: jacobian.ndim - len(shape)]
    return np.asarray(jacobian).reshape(int(np.prod(out)), -1), out


def assert_commutes(case, layer, shape, *, lifted: tuple[bool, bool]) -> None:
    w, out = matrix(layer, shape)
    assert np.linalg.matrix_rank(w) > 1
    for g in range(case.order):
        before = representation(case, shape, g, lifted=lifted[0])
        after = representation(case, out, g, lifted=lifted[1])
        assert_close(w @ before, after @ w, atol=1e-13)


@every_case
@pytest.mark.parametrize("kernel", [2, 3])
def test_lift_conv(case, kernel, rng, x64):
    w = lifting_filter(rng, case, kernel, 2, 1)
    shape = (SIZE,) * case.dimension + (2,)
    assert_commutes(
        case,
        lambda x: lift_conv(x, w, group=case.group, padding=1),
        shape,
        lifted=(False, True),
    )


@every_case
@pytest.mark.parametrize("kernel", [2, 3])
def test_group_conv(case, kernel, rng, x64):
    w = group_filter(rng, case, kernel, 1, 2)
    shape = (SIZE,) * case.dimension + (case.order, 1)
    assert_commutes(
        case,
        lambda x: group_conv(x, w, group=case.group, padding=1),
        shape,
        lifted=(True, True),
    )


@every_case
def test_linear_pools(case, x64):
    shape = (SIZE,) * case.dimension + (case.order, 1)
    for layer, lifted in [
        (lambda x: group_pool(x, reduce="mean", group=case.group), False),
        (lambda x: avg_pool(x, group=case.group, window_shape=2, lifted=True), True),
        (lambda x: upsample(x, group=case.group, scale=2, method="bilinear", lifted=True), True),
    ]:
        assert_commutes(case, layer, shape, lifted=(True, lifted))


def test_restriction_and_coset_mean_as_matrices(x64):
    """Restriction is a permutation matrix; the mean over cosets a projection up to scale."""
    case, sub = BY_NAME["p4m"], BY_NAME["mirror"].group
    w, _ = matrix(lambda x: restrict(x, group=case.group, subgroup=sub), (2, 2, 8, 3))
    assert sorted(w.sum(0)) == sorted(w.sum(1)) == [1] * len(w)
    assert set(np.unique(w)) == {0, 1}
    pool, _ = matrix(
        lambda x: coset_pool(x, group=case.group, subgroup=sub, reduce="mean"), (1, 1, 8, 1)
    )
    assert_close(pool @ pool.T, np.eye(4) / 2, atol=1e-15)


@pytest.mark.parametrize("name", ["p4", "p4m", "line-mirror"])
def test_every_weight_counts(name, rng, x64):
    """Weights to layer is injective. On a torus as large as the kernel there are no more
    equivariant maps than weights, so these are all of them."""
    case = BY_NAME[name]
    delta = np.zeros((1,) + (3,) * case.dimension + (case.order, 1))
    delta[(0,) * delta.ndim] = 1
    shape = (3,) * case.dimension + (case.order, 1, 1)

    def respond(w):
        return group_conv(delta, w, group=case.group, padding="CIRCULAR")

    response, _ = matrix(respond, shape)
    assert np.linalg.matrix_rank(response) == 3**case.dimension * case.order


def test_negative_control(rng, x64):
    """One pixel of asymmetric padding: the matrices no longer commute."""
    case = BY_NAME["line-mirror"]
    w = lifting_filter(rng, case, 3, 1, 1)
    layer, out = matrix(lambda x: jnp.roll(lift_conv(x, w, group=case.group), 1, axis=0), (SIZE, 1))
    before = representation(case, (SIZE, 1), 1, lifted=False)
    after = representation(case, out, 1, lifted=True)
    assert np.abs(layer @ before - after @ layer).max() > 1e-3
