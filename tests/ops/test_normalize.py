"""Normalization by the moments of a batch: the formula, and its derivatives of any order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

from gconv_jax.nnx import BatchNorm
from gconv_jax.ops.normalize import Settings, normalize
from tests.helpers import assert_close

SHAPES = [(7, 6), (3, 5, 4, 6), (2, 3, 2, 2, 6), (1, 1, 1, 6)]


def plain(x, scale, bias, share, settings):
    """The definition, whose derivatives are JAX's own."""
    groups = x.reshape(-1, settings.order, x.shape[-1] // settings.order)
    share = jnp.full(settings.order, 1 / settings.order) if share is None else share
    mean = jnp.einsum("ngc,g->c", groups, share) / len(groups)
    var = jnp.einsum("ngc,g->c", (groups - mean) ** 2, share) / len(groups)
    y = (groups - mean) / jnp.sqrt(var + settings.epsilon) * scale + bias
    return y.reshape(x.shape), mean, var


def operands(rng, shape, order):
    features = shape[-1] // order
    sizes = (shape, features, features)
    return tuple(jnp.asarray(rng.normal(1, 2, size=size)) for size in sizes)


@pytest.mark.one_in(13)
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_derivatives_are_those_of_the_definition(shape, order, weighted, rng, x64):
    """All three results have cotangents."""
    arguments = operands(rng, shape, order)
    share = rng.uniform(size=order) if weighted else None
    share = None if share is None else jnp.asarray(share / share.sum())
    settings = Settings(order, 1e-3)
    results = []
    for function in (normalize, plain):

        def f(*a, function=function):
            return function(*a, share, settings)

        @jax.jit
        def both(*a, f=f):
            y, pull = jax.vjp(f, *a)
            _, tangents = jax.jvp(f, a, tuple(jnp.cos(b) for b in a))
            return y, pull(jax.tree.map(jnp.sin, y)), tangents

        results.append(both(*arguments))
    jax.tree.map(lambda a, b: assert_close(a, b, atol=1e-10), *results)


@pytest.mark.parametrize("order", [1, 2])
def test_second_derivatives(order, rng, x64):
    arguments = operands(rng, (3, 2, 4), order)
    check_grads(
        lambda *a: [jnp.sin(r) for r in normalize(*a, None, Settings(order, 1e-2))],
        arguments, order=2, modes=["fwd", "rev"], atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_a_mean_far_from_zero_does_not_lose_the_variance(rng):
    """A mean of 10,000 and a deviation of 1, in float32. Flax's default does, which is the negative
    control."""
    x = jnp.asarray(rng.normal(1e4, 1, size=(16, 9, 9, 4, 5)), jnp.float32)
    expected = np.asarray(x, np.float64)
    expected = (expected - expected.mean((0, 1, 2, 3))) / expected.std((0, 1, 2, 3))
    ours, flax = (cls(5, rngs=nnx.Rngs(0)) for cls in (BatchNorm, nnx.BatchNorm))
    assert_close(ours(x), expected.astype(np.float32), atol=5e-3)
    np.testing.assert_allclose(ours.var[...], 0.99 + 0.01 * np.var(np.asarray(x, float)), atol=1e-3)
    assert float(jnp.abs(flax(x) - expected).max()) > 0.1


def test_the_gradient_far_from_zero(rng):
    """Float32 beside float64."""
    x = rng.normal(1e3, 1, size=(8, 7, 7, 2, 3)).astype(np.float32)
    cotangent = rng.normal(size=x.shape)
    found = []
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):

            @jax.jit
            def gradient(x, cotangent):
                merged = x.reshape(8, 7, 7, 6)
                ones = jnp.ones(3, x.dtype)
                f = lambda x, s: normalize(x, s, 0 * ones, None, Settings(2, 1e-5))[0]  # noqa: E731
                return jax.vjp(f, merged, ones)[1](cotangent.reshape(merged.shape))

            gradients = gradient(jnp.asarray(x, dtype), jnp.asarray(cotangent, dtype))
            found.append([np.asarray(g) for g in gradients])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(b).max())


@pytest.mark.parametrize("share", [None, (0.25, 0.75)], ids=str)
def test_moments_over_devices(share, rng, x64):
    """Two devices with half of the batch each are one with all of it, gradients too."""
    if jax.device_count() < 2:
        pytest.skip("needs 2 devices")
    x, scale, bias = operands(rng, (2, 3, 4, 6), 2)
    share = None if share is None else jnp.asarray(share)

    def loss(x, scale, bias, axis_name):
        y, mean, var = normalize(x, scale, bias, share, Settings(2, 1e-5, axis_name))
        return jnp.sin(y).sum(), (y, mean, var)

    grad = jax.grad(loss, (0, 1, 2), has_aux=True)
    (dx, dscale, dbias), (y, mean, var) = jax.pmap(
        lambda x: grad(x, scale, bias, "d"), axis_name="d", devices=jax.devices()[:2]
    )(x)
    (ex, es, eb), (ey, em, ev) = grad(x, scale, bias, None)
    found = (y, mean[0], var[1], dx, dscale.sum(0), dbias.sum(0))
    for a, b in zip(found, (ey, em, ev, ex, es, eb), strict=True):
        assert_close(np.asarray(a), np.asarray(b), atol=1e-12)


def test_vmap_is_several_batches(rng, x64):
    x = rng.normal(size=(3, 4, 5, 6))
    scale, bias = rng.normal(size=(3, 3)), rng.normal(size=3)
    f = lambda x, s: normalize(x, s, bias, None, Settings(2, 1e-5))  # noqa: E731
    together = jax.jit(jax.vmap(f))(x, scale)
    for i in range(3):
        alone = f(x[i], scale[i])
        jax.tree.map(lambda a, b, i=i: assert_close(a[i], b, atol=1e-12), together, alone)
