"""`max_over`: the value, the gradient, and what it is for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    P4M,
    SO2,
    SampledFeatures,
    all_elements,
    coset_pool,
    group_pool,
    mirror,
    sampled_pool,
)
from gconv_jax.ops.maximum import max_over

pytestmark = pytest.mark.optimized

AXES = [0, -1, (1, 2), (-3, -2), (0, 1, 2, 3)]


SAMPLED = all_elements(SO2(), 8)
POOLS = {
    "group": group_pool,
    "coset": lambda x: coset_pool(x, group=P4M, subgroup=mirror()),
    "sampled": lambda x: sampled_pool(SampledFeatures(x, SAMPLED)),
}


@pytest.mark.one_in(5)
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (7, 6, 1, 13)], ids=str)
def test_value_and_gradient(shape, axes, rng, x64):
    """Where no two entries are equal, the gradient goes to the largest."""
    x = rng.permutation(np.prod(shape)).reshape(shape).astype(float)
    cotangent = rng.normal(size=x.max(axes).shape)
    y, pullback = jax.vjp(lambda x: max_over(x, axes), x)
    np.testing.assert_array_equal(y, x.max(axes))
    largest = x == x.max(axes, keepdims=True)
    axes = axes if isinstance(axes, tuple) else (axes,)
    expected = largest * np.expand_dims(cotangent, axes)
    np.testing.assert_array_equal(pullback(cotangent)[0], expected)


def test_gradient_of_equal_entries_sums_to_one(x64):
    for n in range(1, 7):
        for x in itertools.product([0.0, 1.0], repeat=n):
            gradient = np.asarray(jax.grad(lambda x: max_over(x, 0))(jnp.array(x)))
            assert gradient.sum() == 1
            assert (gradient[np.array(x) == max(x)] > 0).all()


def test_nan_is_seen():
    assert np.isnan(max_over(jnp.array([1.0, np.nan, 2.0]), 0))


def perturbed(x):
    """x, rounded in another way: what a compiler may put in one of two places."""
    return x * (1 + 2.0**-23)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_every_division_of_the_gradient_is_by_one_or_two(pool):
    """The divisor is never zero, even if a compiler rounds in two ways.

    Otherwise NaN would spread to whole layers. The programs are evaluated with every comparison
    spoilt.
    """
    assert np.isfinite(spoilt_gradient(pool)).all()


def test_negative_control_the_gradient_of_jax():
    assert np.isnan(spoilt_gradient(lambda x: x.max(-2))).any()


def spoilt_gradient(pool) -> np.ndarray:
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 8, 2))
    program = jax.make_jaxpr(jax.grad(lambda x: pool(x).sum()))(x)

    def evaluate(jaxpr, consts, args):
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        read = lambda v: v.val if hasattr(v, "val") else values[v]  # noqa: E731
        for eqn in jaxpr.eqns:
            operands = [read(v) for v in eqn.invars]
            if eqn.primitive.name == "eq":
                operands[0] = perturbed(operands[0])
            if "jaxpr" in eqn.params:  # of a jitted function
                inner = eqn.params["jaxpr"]
                results = evaluate(inner.jaxpr, inner.consts, operands)
            else:
                results = eqn.primitive.bind(*operands, **eqn.params)
                results = results if eqn.primitive.multiple_results else [results]
            values |= dict(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    return np.asarray(evaluate(program.jaxpr, program.consts, [x])[0])
