"""Programs that forbid JAX to promote types by itself can use the library, in short types too."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import gconv_jax as g
from gconv_jax import P4, cyclic, nnx as gnnx

TYPES = [jnp.float32, jnp.bfloat16]
LIFTED = {"group": P4, "lifted": True}
FUNCTIONS = {
    "lift_conv": lambda x, f, w: g.lift_conv(x, w[:, :, 0], group=P4),
    "dense": lambda x, f, w: g.group_conv(f, w, group=P4, algorithm="dense"),
    "fourier": lambda x, f, w: g.group_conv(f, w, group=P4, algorithm="fourier"),
    "transposed": lambda x, f, w: g.group_conv_transpose(f, w, group=P4),
    "max_pool": lambda x, f, w: g.max_pool(f, window_shape=2, **LIFTED),
    "avg_pool": lambda x, f, w: g.avg_pool(f, window_shape=2, padding="SAME", **LIFTED),
    "blur_pool": lambda x, f, w: g.blur_pool(f, window_shape=2, strides=2, **LIFTED),
    "upsample": lambda x, f, w: g.upsample(f, scale=2, method="bilinear", **LIFTED),
    "group_pool": lambda x, f, w: g.group_pool(f, reduce="mean"),
    "rotate": lambda x, f, w: g.rotate(x, 0.3, fill=2),
    "standardize_weights": lambda x, f, w: g.standardize_weights(w),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_gradients(name, dtype):
    args = [jnp.ones(s, dtype) for s in ((2, 8, 8, 3), (2, 8, 8, 4, 3), (3, 3, 4, 3, 5))]
    with jax.numpy_dtype_promotion("strict"):
        y = FUNCTIONS[name](*args)
        assert y.dtype == dtype
        gradients = jax.grad(lambda args: FUNCTIONS[name](*args).sum())(args)
    assert all(a.dtype == dtype for a in gradients)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("filters", ["pixel", "harmonic"])
def test_layers(filters, dtype):
    group = P4 if filters == "pixel" else cyclic(8)
    with jax.numpy_dtype_promotion("strict"):
        layer = gnnx.GroupConv(3, 2, 5, group=group, filters=filters, dtype=dtype, rngs=nnx.Rngs(0))
        assert layer(jnp.ones((1, 8, 8, group.order, 3), dtype)).dtype == dtype
