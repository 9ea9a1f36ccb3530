"""Whole networks made equivariant, as modules of NNX and Linen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gconv_jax.linen
from gconv_jax import P4, P4M, canonicalize, pose_prior, score_poses, symmetrize, transform
from gconv_jax.nnx import Canonicalized, LiftConv, Symmetrized
from gconv_jax.testing import assert_equivariant

from ..helpers import random_float64


class Plain(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.top = nnx.Linear(4 * 36, 3, rngs=rngs)

    def __call__(self, x):
        return self.top(nnx.relu(self.norm(self.conv(x))).reshape(len(x), -1))


class Scores(nnx.Module):
    def __init__(self, rngs):
        self.conv = LiftConv(1, 1, 3, group=P4M, rngs=rngs)

    def __call__(self, x):
        return nnx.tanh(self.conv(x)).mean((1, 2))[..., 0]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_nnx_modules_are_the_functions(x64, rng, mode):
    x = rng.normal(size=(3, 6, 6, 1))
    even = random_float64(lambda: Symmetrized(Plain(nnx.Rngs(0)), group=P4M), rng)
    posed = random_float64(
        lambda: Canonicalized(Plain(nnx.Rngs(0)), Scores(nnx.Rngs(1)), group=P4M), rng
    )
    for model in (even, posed):
        getattr(model, mode)()
        assert_equivariant(model, x, group=P4M, rtol=1e-10)
    expected = symmetrize(nnx.clone(even.model), group=P4M)(x)
    np.testing.assert_array_equal(nnx.clone(even)(x), expected)
    expected = canonicalize(nnx.clone(posed.model), group=P4M, by=posed.by)(x)
    np.testing.assert_array_equal(nnx.clone(posed)(x), expected)
    graph, state = nnx.split(even)
    np.testing.assert_array_equal(nnx.merge(graph, state)(x), even(x))


def test_evaluation_moves_each_image_once(rng):
    """The scores have gradients in training, and none in evaluation."""
    x = jnp.asarray(rng.normal(size=(3, 6, 6, 1)), jnp.float32)
    model = Canonicalized(Plain(nnx.Rngs(0)), Scores(nnx.Rngs(1)), group=P4M)

    def slope(model):
        grads = nnx.grad(lambda model: jnp.square(model(x)).sum())(model)
        return np.abs(grads["by"]["conv"]["kernel"][...]).max()

    assert slope(model) > 0
    model.eval()
    assert slope(model) == 0


def test_a_plain_network_learns_which_way_is_up(rng):
    """Images are bright at the top; trained upright, the pose is undone in all orientations."""
    images = rng.normal(size=(64, 6, 6, 1)) * 0.3
    images[:, :2] += 1.0
    images = jnp.asarray(images, jnp.float32)
    rngs = nnx.Rngs(0)
    scorer = nnx.Linear(36, 1, rngs=rngs)
    by = score_poses(lambda x: scorer(x.reshape(len(x), -1)), group=P4)
    model = Canonicalized(Plain(rngs), by, group=P4)

    @nnx.jit
    def step(scorer):
        loss, grads = nnx.value_and_grad(
            lambda s: pose_prior(score_poses(lambda x: s(x.reshape(len(x), -1)), group=P4)(images))
        )(scorer)
        nnx.update(scorer, jax.tree.map(lambda p, g: p - 0.3 * g, nnx.state(scorer), grads))
        return loss

    for _ in range(50):
        loss = step(scorer)
    assert loss < 0.05
    model.eval()
    upright = model(images)
    plain = nnx.clone(model.model)
    np.testing.assert_allclose(upright, plain(images), atol=1e-5)  # as the plain network alone
    for g in P4.elements:
        turned = transform(images, group=P4, element=g, lifted=False)
        np.testing.assert_allclose(model(turned), upright, atol=1e-5)


def test_linen_has_the_parameters_of_the_network(x64, rng):
    x = rng.normal(size=(2, 6, 6, 1))
    plain = linen.Conv(3, (3, 3), param_dtype=jnp.float64)
    module = gconv_jax.linen.Symmetrized(plain, group=P4M)
    variables = module.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {"model": {"kernel": (3, 3, 1, 3), "bias": (3,)}}
    }
    expected = symmetrize(
        lambda x: plain.apply({"params": variables["params"]["model"]}, x), group=P4M
    )(x)
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-14)


def test_bad_input():
    plain = Plain(nnx.Rngs(0))
    with pytest.raises(ValueError, match="`reduce` must be mean or max, got 'sum'"):
        Symmetrized(plain, group=P4, reduce="sum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="`group`"):
        Canonicalized(plain, plain, group="p4")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`choice` must be"):
        Canonicalized(plain, plain, group=P4, choice="soft")  # pyright: ignore[reportArgumentType]
