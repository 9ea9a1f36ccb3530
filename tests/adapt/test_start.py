"""A G-CNN that starts from a plain network is its symmetrization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gconv_jax.linen
from gconv_jax import P4, P4M, group_pool, octahedral, start_from, symmetrize
from gconv_jax.nnx import GroupConv, GroupLinear, LiftConv
from gconv_jax.testing import assert_equivariant

from ..helpers import random_float64


class Net(nnx.Module):
    """Two convolutions, normalizations, a mean over space and a linear map: plain or not."""

    def __init__(self, group, rngs, dimension=2):
        d, options = dimension, {"rngs": rngs}
        if group is None:
            self.first = nnx.Conv(2, 5, d * (3,), **options)
            self.second = nnx.Conv(5, 6, d * (3,), strides=d * (2,), padding="VALID", **options)
            self.top = nnx.Linear(6, 3, **options)
        else:
            options["group"] = group
            self.first = LiftConv(2, 5, 3, **options)
            self.second = GroupConv(5, 6, 3, 2, padding="VALID", **options)
            self.top = GroupLinear(6, 3, **options)
        self.group = group
        self.batch_norm = nnx.BatchNorm(5, rngs=rngs)
        self.layer_norm = nnx.LayerNorm(6, rngs=rngs)

    def __call__(self, x):
        y = nnx.tanh(self.batch_norm(self.first(x)))
        y = nnx.tanh(self.layer_norm(self.second(y)))
        last = 1 if self.group is None else 2
        y = self.top(y.mean(tuple(range(1, y.ndim - last))))
        return y if self.group is None else group_pool(y, reduce="mean")


@pytest.mark.one_in(7)
@pytest.mark.parametrize("group", [P4, P4M, octahedral()], ids=repr)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_it_is_the_symmetrization(x64, rng, group, mode):
    d = group.dimension
    plain = random_float64(lambda: Net(None, nnx.Rngs(0), d), rng)
    even = random_float64(lambda: Net(group, nnx.Rngs(1), d), rng)
    nnx.update(even, start_from(nnx.state(plain), nnx.state(even), group=group))
    getattr(plain, mode)()
    getattr(even, mode)()
    x = rng.normal(size=(3, *d * (5,), 2))
    expected = symmetrize(nnx.clone(plain), group=group)(x)
    np.testing.assert_allclose(nnx.clone(even)(x), expected, atol=1e-12)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(plain, x, group=group)


def test_linen(x64, rng):
    class Plain(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.tanh(linen.Conv(4, (3, 3), param_dtype=jnp.float64, name="a")(x))
            return linen.Conv(3, (3, 3), param_dtype=jnp.float64, name="b")(x).mean((1, 2))

    class Even(linen.Module):
        @linen.compact
        def __call__(self, x):
            options = {"group": P4M, "param_dtype": jnp.float64}
            x = linen.tanh(gconv_jax.linen.LiftConv(4, 3, name="a", **options)(x))
            x = gconv_jax.linen.GroupConv(3, 3, name="b", **options)(x)
            return x.mean((1, 2, 3))

    x = rng.normal(size=(2, 6, 6, 1))
    plain = Plain().init(jax.random.key(0), x)
    shapes = jax.eval_shape(Even().init, jax.random.key(0), x)
    even = start_from(plain, shapes, group=P4M)
    expected = symmetrize(lambda x: Plain().apply(plain, x), group=P4M)(x)
    np.testing.assert_allclose(Even().apply(even, x), expected, atol=1e-13)


@pytest.mark.parametrize(
    ("plain", "target", "message"),
    [
        ({"a": (3, 3, 1, 4)}, {"b": (3, 3, 1, 4)}, r"`target` must have a parameter \['a'\]"),
        ({}, {"b": (3, 3, 1, 4)}, r"`plain` must have a parameter \['b'\]"),
        (
            {"a": (3, 3, 8, 8)},
            {"a": (3, 3, 4, 2, 2)},
            r"`target` must have \['a'\] of shape \(3, 3, 8, 8\), or with a group axis of 4 .* got "
            r"\(3, 3, 4, 2, 2\): the G-CNN needs",
        ),
        ({"a": (8,)}, {"a": (4, 8)}, "must have"),
    ],
)
def test_bad_input(plain, target, message):
    plain, target = ({k: np.zeros(v) for k, v in tree.items()} for tree in (plain, target))
    with pytest.raises(ValueError, match=message):
        start_from(plain, target, group=P4)
