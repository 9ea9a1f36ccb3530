"""`max_over` and `max_of_pairs`: the values, the derivatives, and what they are for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gconv_jax import (
    P4M,
    P6,
    SO2,
    Z2,
    SampledFeatures,
    all_elements,
    coset_pool,
    group_pool,
    max_pool,
    mirror,
    sampled_pool,
)
from gconv_jax.ops.maximum import max_of_pairs, max_of_pairs_pays, max_over

pytestmark = pytest.mark.optimized

AXES = [0, -1, (1, 2), (-3, -2), (0, 1, 2, 3)]


SAMPLED = all_elements(SO2(), 8)
POOLS = {
    "group": group_pool,
    "coset": lambda x: coset_pool(x, group=P4M, subgroup=mirror()),
    "sampled": lambda x: sampled_pool(SampledFeatures(x, SAMPLED)),
}


@pytest.mark.one_in(16)
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


def narrow_pool(x):
    """Pooling of fewer channels than those for which `max_of_pairs` is faster."""
    return max_pool(x, group=Z2, window_shape=2, lifted=False)


def overlapping_pool(x):
    return max_pool(x, group=Z2, window_shape=3, strides=1, lifted=False)


def hexagonal_pool(x):
    return max_pool(x, group=P6, window_shape=3, strides=1, padding="SAME", lifted=True)


@pytest.mark.parametrize("pool", [narrow_pool, overlapping_pool, hexagonal_pool, *POOLS.values()])
def test_no_maximum_loses_its_gradient_in_any_pooling(pool):
    """The shares of the entries of each maximum add up to one, however a compiler rounds."""
    shape = {hexagonal_pool: (1, 7, 7, 6, 1)}.get(pool, (2, 6, 6, 8, 2))
    shape = shape[:-2] + shape[-1:] if pool in (narrow_pool, overlapping_pool) else shape
    x = jax.random.normal(jax.random.key(0), shape)
    pooled = np.asarray(jax.tree.leaves(pool(x))[0])
    # Outside of a hexagon pixels are zero, and no maximum stands there.
    assert spoilt_gradient(pool, shape).sum() == pytest.approx(np.count_nonzero(pooled))


def test_no_maximum_loses_its_gradient():
    """Where a compiler rounds in two ways, one entry of each maximum still wins."""
    gradient = spoilt_gradient(lambda x: max_of_pairs(x, (1, 2)), (3, 4, 6, 5))
    sums = gradient.reshape(3, 2, 2, 3, 2, 5).sum((2, 4))
    np.testing.assert_array_equal(sums, np.ones((3, 2, 3, 5)))


@jax.custom_jvp
def larger(a, b):
    """The maximum, with the derivative that ``jnp.maximum`` had before jax 0.11."""
    return jnp.maximum(a, b)


@larger.defjvp
def _larger_jvp(operands, tangents):
    y = jnp.maximum(*operands)
    return y, sum(t * (a == y) for a, t in zip(operands, tangents, strict=True))


def test_negative_control_a_maximum_that_is_compared_with_its_operands_loses_its_gradient():
    def pool(x):
        return larger(x[:, ::2], x[:, 1::2])

    assert not spoilt_gradient(pool, (3, 4, 6, 5)).any()


def maxima_of_slices(x, axes):
    """The definition of `max_of_pairs`, whose derivative is JAX's own."""
    for axis in axes:
        even, odd = (jnp.arange(i, x.shape[axis] // 2 * 2, 2) for i in range(2))
        x = jnp.maximum(jnp.take(x, even, axis), jnp.take(x, odd, axis))
    return x


@pytest.mark.one_in(13)
@pytest.mark.parametrize("axes", [(1,), (1, 2), (0, 2), (0, 1, 2), (3,)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_derivatives_are_those_of_maxima_of_slices(axes, dtype, rng, x64):
    """Equal entries, infinities and NaN are among them, under jit and vmap. Reverse mode is equal
    bit for bit, forward mode to the rounding of a sum."""
    x = rng.integers(0, 3, size=(2, 7, 6, 2)).astype(float)
    x[0, 0, 0], x[1, :, 1], x[:, 4:6, 2:4, 0] = np.nan, np.inf, -np.inf
    x, tangent = jnp.asarray(x, dtype), jnp.asarray(rng.normal(size=x.shape), dtype)
    results = []
    for maximum in (max_of_pairs, maxima_of_slices):

        @jax.jit
        @jax.vmap
        def derivatives(x, tangent, maximum=maximum):
            f = lambda x: maximum(x, axes)  # noqa: E731
            y, pullback = jax.vjp(f, x)
            return y, *pullback(jnp.cos(jnp.nan_to_num(y))), jax.jvp(f, (x,), (tangent,))[1]

        results.append(derivatives(jnp.stack([x, x[::-1]]), jnp.stack([tangent, -tangent])))
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype == dtype
    (*exact, forward), (*expected, expected_forward) = (
        [np.asarray(r, float) for r in result] for result in results
    )
    np.testing.assert_array_equal(exact[0], expected[0])
    np.testing.assert_array_equal(exact[1], expected[1])
    np.testing.assert_allclose(forward, expected_forward, atol=4 * float(jnp.finfo(dtype).eps))


def test_negative_control_the_first_of_equal_entries(x64):
    """A gradient that does not share between equal entries is another one."""
    x = jnp.zeros((1, 2))
    gradients = [jax.grad(lambda x, f=f: f(x).sum())(x) for f in (max_by_index, shared)]
    assert gradients[0].tolist() == [[1, 0]] and gradients[1].tolist() == [[0.5, 0.5]]


def max_by_index(x):
    return jnp.take_along_axis(x, x.argmax(1, keepdims=True), 1)


def shared(x):
    return max_of_pairs(x, (1,))


def test_second_derivatives(rng, x64):
    x = jnp.asarray(rng.permutation(2 * 5 * 4 * 2).reshape(2, 5, 4, 2) / 80)
    check_grads(
        lambda x: jnp.sin(max_of_pairs(x**2, (1, 2))) * x.mean(), (x,), order=2,
        modes=["fwd", "rev"], atol=1e-5, rtol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("case", "pays"),
    [
        ((16, 2, jnp.float32, "cpu"), True),
        ((64, 1, jnp.bfloat16, "cpu"), True),
        ((15, 2, jnp.float32, "cpu"), False),
        ((64, 3, jnp.float32, "cpu"), False),
        ((64, 2, jnp.int32, "cpu"), False),
        ((64, 2, jnp.float32, "gpu"), False),
        ((64, 2, jnp.float32, "tpu"), False),
    ],
    ids=str,
)
def test_the_choice(case, pays):
    assert max_of_pairs_pays(*case) == pays


def spoilt_gradient(pool, shape=(2, 3, 3, 8, 2)) -> np.ndarray:
    x = jax.random.normal(jax.random.key(0), shape)
    program = jax.make_jaxpr(jax.grad(lambda x: pool(x).sum()))(x)

    def evaluate(jaxpr, consts, args):
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        read = lambda v: v.val if hasattr(v, "val") else values[v]  # noqa: E731
        for eqn in jaxpr.eqns:
            operands = [read(v) for v in eqn.invars]
            if eqn.primitive.name == "eq":
                operands[0] = perturbed(operands[0])
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            if inner is not None:  # of a jitted function, or of one with a derivative of its own
                results = evaluate(inner.jaxpr, inner.consts, operands)
            else:
                results = eqn.primitive.bind(*operands, **eqn.params)
                results = results if eqn.primitive.multiple_results else [results]
            values |= dict(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    return np.asarray(evaluate(program.jaxpr, program.consts, [x])[0])
