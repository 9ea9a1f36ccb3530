"""Kernels are drawn as before, only sooner."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from gconv_jax import P4
from gconv_jax.initializers import quick
from gconv_jax.nnx import GroupConv
from tests.helpers import assert_close


@pytest.mark.parametrize("initializer", [lecun_normal(), orthogonal(), zeros])
def test_values(initializer):
    args = jax.random.key(1), (3, 3, 2, 4), jnp.float32
    assert_close(quick(initializer)(*args), initializer(*args), atol=1e-6)


def test_inside_transformations():
    def build(key):
        return GroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(key)).kernel[...]

    keys = jax.random.split(jax.random.key(0))
    expected = build(keys[0])
    assert_close(jax.jit(build)(keys[0]), expected, atol=1e-6)
    assert jax.eval_shape(build, keys[0]).shape == expected.shape
    assert_close(jax.vmap(build)(keys)[0], expected, atol=1e-6)


def test_initialisers_of_users_may_have_a_state():
    values = iter([1.0, 2.0])
    initializer = quick(lambda key, shape, dtype: jnp.full(shape, next(values), dtype))
    for expected in (1.0, 2.0):
        assert initializer(jax.random.key(0), (), jnp.float32) == expected
