"""Depthwise convolution: XLA's grouped one is the oracle, for values and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax.planar import depthwise
from gconv_jax.planar.conv import planar_conv
from gconv_jax.planar.depthwise import depthwise_conv
from tests.helpers import assert_close

pytestmark = pytest.mark.optimized

SETTINGS = [
    # spatial, kernel, strides, padding, dilation
    ((7, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((8, 7), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1)),
    ((8, 7), (2, 3), (2, 3), ((0, 1), (2, 2)), (1, 2)),
    ((5, 5), (1, 1), (1, 1), ((2, 0), (0, 0)), (1, 1)),
    ((9,), (4,), (3,), ((1, 2),), (2,)),
    ((4, 5, 4), (2, 3, 1), (1, 2, 2), ((0, 0), (1, 1), (0, 0)), (1, 1, 1)),
]
settings = pytest.mark.parametrize("setting", SETTINGS, ids=str)


def draw(rng, setting, images=3, channels=5):
    spatial, kernel, strides, padding, dilation = setting
    x = jnp.asarray(rng.normal(size=(images, *spatial, channels)))
    w = jnp.asarray(rng.normal(size=(*kernel, 1, channels)))
    return x, w, {"strides": strides, "padding": padding, "dilation": dilation}


def oracle(x, w, **options):
    return planar_conv(x, w, feature_group_count=x.shape[-1], **options)


@pytest.mark.one_in(16)
@settings
@pytest.mark.parametrize("chunk_bytes", [1, 2**19])
def test_values_and_gradients(setting, chunk_bytes, rng, x64, monkeypatch):
    monkeypatch.setattr(depthwise, "CHUNK_BYTES", chunk_bytes)
    x, w, options = draw(rng, setting)

    def of(conv, x, w):
        y, pullback = jax.vjp(lambda x, w: conv(x, w, **options), x, w)
        return y, *pullback(jnp.sin(y))

    jax.clear_caches()
    actual, expected = (jax.jit(lambda c=c: of(c, x, w))() for c in (depthwise_conv, oracle))
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, atol=1e-12)


def test_second_derivatives_forward_mode_and_vmap(rng, x64):
    x, w, options = draw(rng, SETTINGS[1], channels=2)

    def of(conv):
        def loss(x, w):
            return jnp.sin(conv(x, w, **options)).sum()

        hessian = jax.hessian(loss, 1)(x, w)
        _, tangent = jax.jvp(lambda x, w: conv(x, w, **options), (x, w), (x, 2 * w))
        mapped = jax.vmap(lambda x, w: conv(x, w, **options))(
            jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])
        )
        shared = jax.vmap(lambda w: conv(x, w, **options))(jnp.stack([w, w + 1]))
        return hessian, tangent, mapped, shared

    for a, e in zip(jax.jit(of, static_argnums=0)(depthwise_conv), of(oracle), strict=True):
        assert_close(a, e, atol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32, jnp.complex64])
def test_every_type_in_is_the_same_out(dtype, rng):
    x, w, options = draw(rng, SETTINGS[0])
    x, w = (10 * x).astype(dtype), (10 * w).astype(dtype)
    y = jax.jit(lambda x, w: depthwise_conv(x, w, **options))(x, w)
    assert y.dtype == dtype
    long = jnp.complex64 if dtype == jnp.complex64 else jnp.float32
    expected = oracle(x.astype(long), w.astype(long), **options)
    np.testing.assert_allclose(y.astype(long), expected, rtol=0.02, atol=1e-3)


def test_nothing_to_do():
    options = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    x, w = jnp.ones((0, 5, 5, 2)), jnp.ones((3, 3, 1, 2))
    assert depthwise_conv(x, w, **options).shape == (0, 3, 3, 2)
    gradient = jax.grad(lambda w: depthwise_conv(x, w, **options).sum())(w)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(w))
