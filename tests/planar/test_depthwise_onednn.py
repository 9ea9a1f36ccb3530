"""Depthwise convolution by oneDNN: XLA's grouped one in float64 is the oracle."""

import jax
import jax.numpy as jnp
import pytest

from gconv_jax._native import door
from gconv_jax.planar import depthwise, depthwise_onednn
from gconv_jax.planar.depthwise import depthwise_conv
from gconv_jax.planar.implementation import planar_implementation
from tests.helpers import assert_close
from tests.planar.test_depthwise import draw, oracle

pytestmark = [
    pytest.mark.optimized,
    pytest.mark.skipif(not door.available("onednn"), reason="needs the extra cpu"),
]

SETTINGS = [
    # spatial, kernel, strides, padding, dilation, whether oneDNN has all kernels
    ((7, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), True),
    ((14, 13), (7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1), True),
    ((14, 13), (5, 8), (2, 3), ((2, 0), (1, 4)), (1, 1), True),
    ((12, 12), (3, 4), (1, 1), ((2, 2), (3, 3)), (2, 2), None),
    ((4, 3), (4, 9), (1, 1), ((2, 2), (4, 4)), (1, 1), None),
    ((4, 3), (3, 10), (1, 2), ((2, 2), (1, 8)), (1, 1), None),
    ((9,), (4,), (3,), ((1, 2),), (1,), True),
    ((4, 5, 4), (2, 3, 1), (1, 2, 2), ((0, 0), (1, 1), (0, 0)), (1, 1, 1), None),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("channels", [2, 19])
def test_values_and_gradients(setting, channels, rng, x64, monkeypatch):
    *setting, complete = setting
    taken = []
    native = depthwise_onednn.depthwise_onednn

    def watched(form, *given):
        found = native(form, *given)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(depthwise, "depthwise_onednn", watched)
    x, w, options = draw(rng, setting, channels=channels)

    def of(conv, x, w):
        y, pullback = jax.vjp(lambda x, w: conv(x, w, **options), x, w)
        return y, *pullback(jnp.cos(jnp.arange(float(y.size)).reshape(y.shape)).astype(y.dtype))

    expected = jax.jit(lambda: of(oracle, x, w))()
    x, w = x.astype(jnp.float32), w.astype(jnp.float32)
    actual = jax.jit(lambda: of(depthwise_conv, x, w))()
    assert taken and (complete is None or set(taken) == {complete})
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == jnp.float32
        assert_close(a.astype(e.dtype), e, atol=1e-6 * max(1.0, float(abs(e).max())))


@pytest.mark.parametrize("name", ["xla", "patches"])
def test_other_implementations_do_without(name, rng, monkeypatch):
    monkeypatch.setattr(door, "conv", lambda *a, **b: pytest.fail("oneDNN was called"))
    x, w, options = draw(rng, SETTINGS[0][:-1])
    with planar_implementation(name):
        y = jax.jit(lambda x, w: depthwise_conv(x, w, **options))(x, w)
    assert_close(y, oracle(x, w, **options), atol=1e-5)


def test_one_channel_and_several_images_at_once(rng):
    """One channel is an ordinary convolution, and vmap takes the images one after the other."""
    x, w, options = draw(rng, SETTINGS[1][:-1], channels=1)
    assert_close(depthwise_conv(x, w, **options), oracle(x, w, **options), atol=1e-5)
    x, w, options = draw(rng, SETTINGS[1][:-1], channels=3)
    xs, ws = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])
    mapped = jax.jit(jax.vmap(lambda x, w: depthwise_conv(x, w, **options)))(xs, ws)
    for y, x, w in zip(mapped, xs, ws, strict=True):
        assert_close(y, oracle(x, w, **options), atol=1e-4)
