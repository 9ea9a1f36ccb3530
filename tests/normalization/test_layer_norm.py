"""Normalization of tokens over the group and its channels."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen
from gconv_jax import P4M, P6M, from_irreps, layer_norm, octahedral, to_irreps
from gconv_jax.nnx import LayerNorm, RMSNorm
from gconv_jax.testing import assert_equivariant
from tests.helpers import assert_close


def by_hand(x, scale, bias, epsilon, subtract_mean):
    y = np.zeros_like(x)
    for place in np.ndindex(*x.shape[:-2]):
        token = x[place]
        token = token - token.mean() if subtract_mean else token
        y[place] = token / np.sqrt((token**2).sum() / token.size + epsilon) * scale + bias
    return y


@pytest.mark.parametrize("subtract_mean", [True, False])
@pytest.mark.parametrize("group", [P4M, P6M, octahedral()], ids=str)
def test_values_in_both_bases(group, subtract_mean, rng, x64):
    x = rng.normal(size=(2, 3, group.order, 5)) + 1
    scale, bias = rng.normal(size=(2, 5))
    expected = by_hand(x, scale, bias, 1e-3, subtract_mean)
    options = {"epsilon": 1e-3, "subtract_mean": subtract_mean}
    assert_close(layer_norm(x, scale, bias, **options), expected, atol=1e-12)
    y = layer_norm(to_irreps(x, group=group), scale, bias, **options)
    assert_close(from_irreps(y), expected, atol=1e-12)
    plain = layer_norm(to_irreps(x, group=group), **options)
    assert_close(from_irreps(plain), by_hand(x, 1, 0, 1e-3, subtract_mean), atol=1e-12)


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_the_law(norm, rng):
    x = rng.normal(size=(2, 5, 5, 8, 3)).astype(np.float32)
    assert_equivariant(norm(3, rngs=nnx.Rngs(0)), x, group=P4M)


@pytest.mark.parametrize("norm", [nnx.GroupNorm, nnx.InstanceNorm])
def test_the_law_of_flax_norms_over_space_and_group(norm, rng):
    """Group and instance normalization of Flax are right as they are."""
    options = {"num_groups": 2} if norm is nnx.GroupNorm else {}
    x = rng.normal(size=(2, 5, 5, 8, 4)).astype(np.float32)
    assert_equivariant(norm(4, rngs=nnx.Rngs(0), **options), x, group=P4M)


def test_negative_control_parameters_of_each_orientation(rng):
    def norm(x):
        merged = nnx.LayerNorm(8 * 3, rngs=nnx.Rngs(0))
        merged.scale[...] = jnp.arange(24.0)
        return merged(x.reshape(*x.shape[:-2], -1)).reshape(x.shape)

    x = rng.normal(size=(2, 5, 5, 8, 3)).astype(np.float32)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(norm, x, group=P4M)


def test_statistics_of_short_types_are_long(rng):
    x = jnp.asarray(rng.normal(size=(2, 8, 64)) * 1e3, jnp.float16)  # squares overflow float16
    for features in (x, to_irreps(x, group=P4M)):
        y = layer_norm(features)
        y = y if features is x else from_irreps(y)
        assert y.dtype == jnp.float16
        assert abs(float(y.astype(jnp.float32).std()) - 1) < 1e-2


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
@pytest.mark.parametrize("options", [{}, {"use_scale": False}, {"dtype": jnp.bfloat16}], ids=str)
def test_nnx_is_linen(name, options, rng):
    layer = getattr(gconv_jax.nnx, name)(3, rngs=nnx.Rngs(0), **options)
    module = getattr(gconv_jax.linen, name)(**options)
    params = {}
    for key in ("scale", "bias"):
        if (parameter := getattr(layer, key)) is not None:
            parameter[...] = params[key] = jnp.asarray(rng.normal(size=3), jnp.float32)
    x = jnp.asarray(rng.normal(size=(2, 8, 3)), jnp.float32)
    y = layer(x)
    assert y.dtype == options.get("dtype", jnp.float32)
    expected = module.apply({"params": params}, x)
    assert_close(y.astype(jnp.float32), expected.astype(jnp.float32), atol=1e-6)
    features = to_irreps(x, group=P4M)
    irreps = from_irreps(module.apply({"params": params}, features)).astype(jnp.float32)
    assert_close(irreps, y.astype(jnp.float32), atol=0.05 if "dtype" in options else 1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., \|G\|, C\], got shape \(3,\)"):
        layer_norm(jnp.ones(3))
    with pytest.raises(ValueError, match=r"`scale` must be \[C=3\], got shape \(8,\)"):
        layer_norm(jnp.ones((2, 8, 3)), jnp.ones(8))
    with pytest.raises(ValueError, match="`num_features` must be at least 1"):
        LayerNorm(0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`epsilon` must be at least 0"):
        layer_norm(jnp.ones((2, 8, 3)), epsilon=-1)
    with pytest.raises(ValueError, match="`dtype` must be floating, got int32"):
        layer_norm(jnp.ones((2, 8, 3)), dtype=jnp.int32)
    with pytest.raises(ValueError, match="`x` must be real, got complex64"):
        layer_norm(jnp.ones((2, 8, 3)) + 1j)


def test_integers_become_floating():
    x = np.arange(24).reshape(4, 6)
    assert_close(layer_norm(x), layer_norm(jnp.asarray(x, jnp.float32)), atol=1e-6)
