"""The layers among those of Flax: one model, the law in training and in evaluation; bridges."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as glinen
from gconv_jax import P4, group_conv, group_pool, max_pool
from gconv_jax.nnx import GroupConv, LiftConv
from tests.helpers import BY_NAME, act, assert_close, image, law_error, random_float64, some_cases


class Net(nnx.Module):
    """Every layer of Flax that acts on the last axis shares its parameters over the group."""

    def __init__(self, group, *, rngs):
        self.group = group
        options = {"group": group, "rngs": rngs}
        self.lift = LiftConv(1, 4, 3, **options)
        self.norm1 = nnx.BatchNorm(4, rngs=rngs)
        # One mask for all positions and orientations drops whole channels.
        self.dropout = nnx.Dropout(0.5, broadcast_dims=(1, 2, 3), rngs=rngs)
        self.conv = GroupConv(4, 4, 2, padding="VALID", **options)
        self.norm2 = nnx.LayerNorm(4, rngs=rngs)
        self.pointwise = nnx.Linear(4, 6, rngs=rngs)
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def features(self, x, key=None):
        x = max_pool(
            nnx.relu(self.norm1(self.lift(x))), group=self.group, window_shape=2, lifted=True
        )
        x = self.dropout(x, rngs=None if key is None else nnx.Rngs(key))
        return nnx.gelu(self.pointwise(self.norm2(self.conv(x))))

    def __call__(self, x, key=None):
        return self.head(group_pool(self.features(x, key)).mean(axis=(1, 2)))


def make(case, rng, *, train: bool) -> Net:
    model = random_float64(lambda: Net(case.group, rngs=nnx.Rngs(0)), rng)
    model.train() if train else model.eval()
    return model


@some_cases("Z2", "mirror", "diagonal", "p4", "p4m")
def test_law_in_evaluation(case, rng, x64):
    graphdef, state = nnx.split(make(case, rng, train=False))

    @jax.jit
    def features(x):
        return nnx.merge(graphdef, state).features(x)

    assert law_error(features, case, image(rng, case, 8, 1, 2), lifted=(False, True)) < 1e-12


@some_cases("mirror", "p4", "p4m")
def test_law_in_training(case, rng, x64):
    """Batch statistics and the dropout mask are the same for a turned batch; so are the new
    running averages."""
    graphdef, state = nnx.split(make(case, rng, train=True))

    @jax.jit
    def run(x):
        model = nnx.merge(graphdef, state, copy=True)
        y = model.features(x, jax.random.key(3))
        return y, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    x = image(rng, case, 8, 1, batch=3)
    y, statistics = run(x)
    assert (np.asarray(y) == 0).mean() < 0.9
    for g in range(case.order):
        of_turned, of_turned_statistics = run(act(case, x, g, lifted=False))
        assert_close(of_turned, act(case, y, g, lifted=True), atol=1e-12)
        assert_close(of_turned_statistics, statistics, atol=1e-13)


def test_batch_norm_shares_its_statistics_over_the_group(rng, x64):
    norm = random_float64(lambda: nnx.BatchNorm(2, momentum=0.0, rngs=nnx.Rngs(0)), rng)
    x = rng.normal(size=(3, 4, 4, 8, 2))
    norm(jnp.asarray(x))
    assert_close(norm.mean[...], x.mean(axis=(0, 1, 2, 3)), atol=1e-14)


def test_negative_control_parameters_for_each_orientation(rng, x64):
    """A layer that acts on the group axis is what must not be there."""
    case = BY_NAME["p4"]
    lift = random_float64(lambda: LiftConv(1, 4, 3, group=P4, rngs=nnx.Rngs(0)), rng)
    norm = random_float64(lambda: nnx.LayerNorm(4, feature_axes=-2, rngs=nnx.Rngs(0)), rng)
    x = image(rng, case, 6, 1)
    assert law_error(lift, case, x, lifted=(False, True)) < 1e-12
    assert law_error(lambda x: norm(lift(x)), case, x, lifted=(False, True)) > 1e-3


def test_training_step(rng):
    """Gradients reach every parameter through jit, split and merge, traced once."""
    model = Net(P4, rngs=nnx.Rngs(0))
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, rest, x):
        def loss(params):
            model = nnx.merge(graphdef, params, rest, copy=True)
            return (model(x, jax.random.key(0)) ** 2).mean(), nnx.state(model, nnx.Not(nnx.Param))

        (_, rest), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient), rest, gradient

    for _ in range(3):
        x = jnp.asarray(rng.normal(size=(4, 8, 8, 1)), jnp.float32)
        params, rest, gradient = step(params, rest, x)
    for g in jax.tree.leaves(gradient):
        assert np.isfinite(g).all()
        assert np.abs(g).max() > 0


def test_nnx_jit_grad_and_remat(rng):
    layer = LiftConv(1, 2, 3, group=P4, rngs=nnx.Rngs(0))
    x = jnp.asarray(rng.normal(size=(1, 5, 5, 1)), jnp.float32)
    expected = layer(x)
    assert_close(nnx.jit(lambda layer, x: layer(x))(layer, x), expected, atol=1e-6)

    def loss(layer, x):
        return (layer(x) ** 2).sum()

    plain = nnx.jit(nnx.grad(loss))(layer, x)
    remat = nnx.jit(nnx.grad(nnx.remat(loss)))(layer, x)
    assert_close(nnx.to_pure_dict(remat), nnx.to_pure_dict(plain), atol=1e-5)


def test_ensembles_by_vmap(rng):
    @nnx.vmap(in_axes=0, out_axes=0)
    def create(key):
        return GroupConv(1, 2, 3, group=P4, rngs=nnx.Rngs(key))

    models = create(jax.random.split(jax.random.key(0), 3))
    assert models.kernel.shape == (3, 3, 3, 4, 1, 2)
    x = jnp.asarray(rng.normal(size=(1, 5, 5, 4, 1)), jnp.float32)
    each = nnx.jit(nnx.vmap(lambda model, x: model(x), in_axes=(0, None)))(models, x)
    expected = group_conv(x, np.asarray(models.kernel[...])[1], group=P4)
    assert_close(np.asarray(each)[1], expected, atol=1e-5)


@pytest.mark.parametrize("layer", [LiftConv, GroupConv])
def test_nnx_layer_in_a_linen_model(layer, rng):
    shape = (1, 5, 5, 2) if layer is LiftConv else (1, 5, 5, 4, 2)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    bridged = nnx.bridge.to_linen(layer, 2, 3, kernel_size=3, group=P4)
    y, variables = bridged.init_with_output(jax.random.key(0), x)
    own = layer(2, 3, 3, group=P4, rngs=nnx.Rngs(0))
    own.kernel[...] = variables["params"]["kernel"]
    assert_close(y, own(x), atol=1e-6)
    assert_close(jax.jit(bridged.apply)(variables, x), y, atol=1e-6)


@pytest.mark.parametrize("layer", [glinen.LiftConv, glinen.GroupConv])
def test_linen_layer_in_an_nnx_model(layer, rng):
    shape = (1, 5, 5, 2) if layer is glinen.LiftConv else (1, 5, 5, 4, 2)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    bridged = nnx.bridge.ToNNX(layer(3, 3, group=P4), rngs=nnx.Rngs(0)).lazy_init(x)
    variables = {"params": {"kernel": bridged.kernel[...], "bias": bridged.bias[...]}}
    assert_close(bridged(x), layer(3, 3, group=P4).apply(variables, x), atol=1e-6)


class LinenNet(nn.Module):
    group: object

    @nn.compact
    def __call__(self, x, train=False):
        x = glinen.LiftConv(4, 3, group=self.group)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = max_pool(x, group=self.group, window_shape=2, lifted=True)
        return nn.Dense(3)(glinen.GroupConv(4, 2, group=self.group, padding="VALID")(x))


@some_cases("mirror", "p4m")
def test_linen_model(case, rng, x64):
    model, x = LinenNet(case.group), image(rng, case, 8, 1, 2)
    variables = model.init(jax.random.key(0), x)
    variables = jax.tree.map(
        lambda a: jnp.asarray(0.5 + np.abs(rng.normal(size=a.shape))), variables
    )
    evaluate = jax.jit(functools.partial(model.apply, variables))
    assert law_error(evaluate, case, x, lifted=(False, True)) < 1e-12

    @jax.jit
    def train(x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])

    y, statistics = train(x)
    for g in range(case.order):
        of_turned, of_turned_statistics = train(act(case, x, g, lifted=False))
        assert_close(of_turned, act(case, y, g, lifted=True), atol=1e-10)
        assert_close(of_turned_statistics, statistics, atol=1e-12)
