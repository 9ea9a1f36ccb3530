"""Modulation by invariants, and squeeze-and-excitation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen
from gconv_jax import P4, P4M, film, from_irreps, octahedral, to_irreps
from gconv_jax.nnx import FiLM, SqueezeExcite
from gconv_jax.normalization.film import invariant_mean
from gconv_jax.testing import assert_equivariant
from tests.helpers import assert_close, random_float64

GROUPS = pytest.mark.parametrize("group", [P4, P4M, octahedral()], ids=str)


@GROUPS
@pytest.mark.parametrize("places", [(), (2,), (3, 2)], ids=str)
def test_values_in_both_bases(places, group, rng, x64):
    x = rng.normal(size=(2, *places, group.order, 3))
    scale, shift = rng.normal(size=(2, 2, 3))
    expected = np.stack([x[n] * scale[n] + shift[n] for n in range(2)])
    irreps = to_irreps(x, group=group)
    assert_close(film(x, scale, shift), expected, atol=1e-12)
    assert_close(from_irreps(film(irreps, scale, shift)), expected, atol=1e-12)
    assert_close(film(x, scale[0]), x * scale[0], atol=1e-12)
    assert_close(from_irreps(film(irreps, shift=shift[0])), x + shift[0], atol=1e-12)
    mean = x.reshape(2, -1, 3).mean(1)
    assert_close(invariant_mean(x), mean, atol=1e-12)
    assert_close(invariant_mean(irreps), mean, atol=1e-12)


@GROUPS
@pytest.mark.parametrize("basis", ["regular", "irreps"])
def test_the_law(basis, group, rng, x64):
    modulate = random_float64(lambda: FiLM(4, 6, rngs=nnx.Rngs(0)), rng)
    excite = random_float64(lambda: SqueezeExcite(6, rngs=nnx.Rngs(0)), rng)
    condition = rng.normal(size=(2, 4))

    def network(x):
        x = to_irreps(x, group=group) if basis == "irreps" else x
        y = excite(modulate(x, condition))
        return from_irreps(y) if basis == "irreps" else y

    x = rng.normal(size=(2, *[3] * group.dimension, group.order, 6))
    assert np.abs(np.asarray(network(x)) - x).max() > 0.1
    assert_equivariant(network, x, group=group, rtol=1e-12)


def test_negative_control_a_condition_that_is_one_orientation(rng, x64):
    layer = random_float64(lambda: FiLM(6, 6, rngs=nnx.Rngs(0)), rng)

    def network(x):
        return layer(x, x[..., 0, :].mean((1, 2)))

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(network, rng.normal(size=(2, 3, 3, 4, 6)), group=P4)


def test_nnx_is_linen(rng):
    x = jnp.asarray(rng.normal(size=(2, 3, 3, 4, 6)), jnp.float32)
    condition = jnp.asarray(rng.normal(size=(2, 5)), jnp.float32)
    film_layer = FiLM(5, 6, rngs=nnx.Rngs(0))
    assert_close(film_layer(x, condition), x, atol=1e-7)  # nothing happens at first
    for layer, module, inputs in [
        (film_layer, gconv_jax.linen.FiLM(), (x, condition)),
        (SqueezeExcite(6, rngs=nnx.Rngs(0)), gconv_jax.linen.SqueezeExcite(), (x,)),
    ]:
        state = nnx.state(layer, nnx.Param)
        state = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), state)
        nnx.update(layer, state)
        params = jax.tree.map(jnp.asarray, nnx.to_pure_dict(state))
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, dict(shapes))
        assert_close(module.apply({"params": params}, *inputs), layer(*inputs), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_short_types_stay_short(dtype, rng):
    x = jnp.asarray(rng.normal(size=(2, 3, 3, 4, 6)), dtype)
    assert film(x, jnp.ones((2, 6)), jnp.ones(6)).dtype == dtype
    layer = SqueezeExcite(6, dtype=dtype, rngs=nnx.Rngs(0))
    assert layer(x).dtype == layer(to_irreps(x, group=P4)).dtype == dtype


def test_integers_become_floating():
    x = np.arange(2 * 4 * 3).reshape(2, 4, 3)
    assert_close(film(x, np.full(3, 0.5)), jnp.asarray(x / 2, jnp.float32), atol=1e-6)
    mean = x.reshape(2, -1, 3).mean(1)
    assert_close(invariant_mean(x + 1), jnp.asarray(mean + 1, jnp.float32), atol=1e-6)


def test_bad_input():
    x = jnp.ones((2, 3, 4, 6))
    with pytest.raises(ValueError, match=r"`scale` must be \[N=2, C=6\] or \[C=6\], got shape"):
        film(x, jnp.ones((3, 6)))
    with pytest.raises(ValueError, match=r"`shift` must be \[N=2, C=6\] .* got shape \(4, 6\)"):
        film(to_irreps(x, group=P4), shift=jnp.ones((4, 6)))
    with pytest.raises(ValueError, match="`x` must have an axis of examples"):
        film(x[0, 0], jnp.ones(6))
    with pytest.raises(ValueError, match="`x` must have an axis of examples"):
        SqueezeExcite(6, rngs=nnx.Rngs(0))(to_irreps(x[0, 0], group=P4))
    with pytest.raises(ValueError, match="`reduction` must be at least 1"):
        SqueezeExcite(6, reduction=0, rngs=nnx.Rngs(0))
    assert SqueezeExcite(2, rngs=nnx.Rngs(0)).squeeze.out_features == 1
