"""Float64 arrays of NumPy are taken as JAX takes them: as float32, unless JAX has 64 bits.

JAX's warning of that does not appear (warnings are errors here)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax as g
from gconv_jax import P4, P4M, P6, SO2, cyclic, hexagonal, models, nnx as gnnx
from gconv_jax.testing import smooth_images

LIFTED = {"group": P4, "lifted": True}


def sampled(f):
    return g.SampledFeatures(f, g.all_elements(SO2(), 4))


def layer(make):
    return lambda x, f, w: make(nnx.Rngs(0))(f)


FUNCTIONS = {
    "rotate": lambda x, f, w: g.rotate(x, 0.3, fill=x[0, 0, 0, 0]),
    "rotate each": lambda x, f, w: jax.vmap(g.rotate)(x, x[:, 0, 0, 0]),
    "rotate complex": lambda x, f, w: g.rotate(x + 1j * x, 0.3),
    "transform": lambda x, f, w: g.transform(f, element=1, **LIFTED),
    "transform hexagons": lambda x, f, w: g.transform(x, group=P6, element=1, lifted=False),
    "hexagons": lambda x, f, w: hexagonal.to_hexagonal(x, 9),
    "mean of hexagons": lambda x, f, w: hexagonal.hexagon_mean(x, lifted=False),
    "lift_conv": lambda x, f, w: g.lift_conv(x, w[:, :, 0], group=P4),
    "group_conv": lambda x, f, w: g.group_conv(f, w, group=P4, bias=w[0, 0, 0, 0]),
    "transposed": lambda x, f, w: g.group_conv_transpose(f, w, group=P4),
    "max_pool": lambda x, f, w: g.max_pool(f, window_shape=3, **LIFTED),
    "avg_pool": lambda x, f, w: g.avg_pool(f, window_shape=3, **LIFTED),
    "blur_pool": lambda x, f, w: g.blur_pool(f, window_shape=3, strides=2, **LIFTED),
    "upsample": lambda x, f, w: g.upsample(f, scale=2, **LIFTED),
    "group_pool": lambda x, f, w: g.group_pool(f, reduce="mean"),
    "restrict": lambda x, f, w: g.restrict(f, group=P4, subgroup=cyclic(2)),
    "induce": lambda x, f, w: g.induce(f, group=P4M, subgroup=P4),
    "standardize_weights": lambda x, f, w: g.standardize_weights(w),
    "instance_norm": lambda x, f, w: g.instance_norm(sampled(f)).values,
    "sampled_pool": lambda x, f, w: g.sampled_pool(sampled(f)),
    "BatchNorm": layer(lambda rngs: gnnx.BatchNorm(3, rngs=rngs)),
    "FieldDropout": layer(lambda rngs: gnnx.FieldDropout(0.5, rngs=rngs)),
    "GroupConv": layer(lambda rngs: gnnx.GroupConv(3, 2, 3, group=P4, rngs=rngs)),
    "ContinuousLiftConv": lambda x, f, w: (
        gnnx.ContinuousLiftConv(3, 2, 3, group=SO2(), samples=4, rngs=nnx.Rngs(0))(x).values
    ),
    "Augerino": lambda x, f, w: models.Augerino(
        lambda x: x.mean((1, 2)), copies=2, rngs=nnx.Rngs(0)
    )(x),
}


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_is_taken_as_jax_takes_it(name, rng):
    arrays = [rng.normal(size=s) for s in ((2, 9, 9, 3), (2, 9, 9, 4, 3), (3, 3, 4, 3, 5))]
    y = FUNCTIONS[name](*arrays)
    expected = FUNCTIONS[name](*map(jnp.asarray, arrays))
    assert isinstance(y, jax.Array) and y.dtype == expected.dtype
    assert y.dtype in (jnp.float32, jnp.complex64)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_float64_stays_where_there_is_float64(x64):
    x = smooth_images((1, 9, 9, 1))
    y = g.rotate(x, np.pi / 2)
    assert y.dtype == jnp.float64
    np.testing.assert_allclose(y, np.rot90(x, 1, (1, 2)), atol=1e-12)
