"""The reference networks: published sizes, invariant logits, and the images they take."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, InexactEquivarianceWarning, cyclic, trivial
from gconv_jax.models import P4CNN, Z2CNN, P4CNNRotationPooling
from tests.helpers import (
    BY_NAME,
    CASES,
    act,
    assert_close,
    evaluated,
    image,
    invariance_error,
    law_error,
    parameters,
    random_float64,
)

PLANE = [case for case in CASES if case.dimension == 2]
INVARIANT = [P4CNN, P4CNNRotationPooling]


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (Z2CNN, 21_750),
        (P4CNN, 24_680),
        (P4CNNRotationPooling, 21_750),
        (lambda rngs: P4CNNRotationPooling(group=P4M, rngs=rngs), 21_750),
        # Three channels in, seven classes out: two filters more in, three less out.
        (
            lambda rngs: P4CNN(in_features=3, classes=7, rngs=rngs),
            24_680 + 2 * 9 * 10 - 3 * (4 * 4 * 4 * 10 + 1),
        ),
        (lambda rngs: P4CNN(width=20, group=trivial(), rngs=rngs), 21_750),
    ],
)
def test_number_of_parameters(build, count):
    model = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))
    assert parameters(model) == count


@pytest.mark.one_in(16)
@pytest.mark.parametrize("case", PLANE, ids=str)
@pytest.mark.parametrize("network", INVARIANT)
def test_logits_are_invariant(case, network, rng, x64):
    fn = evaluated(network, rng, group=case.group, width=3, classes=4)
    assert invariance_error(fn, case, image(rng, case, 28, 1, batch=2)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("network", INVARIANT)
def test_logits_of_the_published_network_are_invariant(network, rng, x64):
    fn = evaluated(network, rng)
    case = BY_NAME["p4"]
    assert fn(jnp.ones((2, 28, 28, 1))).shape == (2, 10)
    assert invariance_error(fn, case, image(rng, case, 28, 1, batch=2)) < 1e-10


@pytest.mark.parametrize(
    ("network", "options", "name"),
    [
        (Z2CNN, {}, "p4"),
        (P4CNN, {"group": P4}, "p4m"),
        (P4CNN, {"group": cyclic(2)}, "p4"),
        (P4CNNRotationPooling, {"group": trivial()}, "p2"),
    ],
)
def test_negative_control(network, options, name, rng, x64):
    """The network is invariant under its own group, and no other."""
    fn, case = evaluated(network, rng, width=3, **options), BY_NAME[name]
    assert invariance_error(fn, case, image(rng, case, 28, 1, batch=2)) > 1e-3


@pytest.mark.parametrize("size", [(30, 30), (28, 32)], ids=str)
def test_larger_images(size, rng, x64):
    case = BY_NAME["p4"]
    x = image(rng, case, size, 1, batch=2)
    for network in INVARIANT:
        fn = evaluated(network, rng, width=2, classes=3)
        turned = fn(act(case, x, 1, lifted=False))
        assert_close(turned, fn(x), atol=1e-10 * float(jnp.abs(turned).max()))


def test_plain_network_takes_larger_images(rng, x64):
    assert evaluated(Z2CNN, rng, width=2)(jnp.ones((2, 31, 33, 1))).shape == (2, 10)


def test_odd_images_warn_and_break(rng, x64):
    """The pool of 2 x 2 on 25 pixels drops the last row."""
    case = BY_NAME["p4"]
    fn = evaluated(P4CNN, rng, width=3)
    with pytest.warns(InexactEquivarianceWarning, match=r"size 25, .*: 24 and 26$"):
        fn(jnp.ones((1, 29, 29, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InexactEquivarianceWarning)
        assert invariance_error(fn, case, image(rng, case, 29, 1, batch=2)) > 1e-3


@pytest.mark.parametrize("network", [Z2CNN, *INVARIANT])
@pytest.mark.parametrize("shape", [(1, 27, 28, 1), (1, 28, 27, 1), (28, 28, 1), (1, 1, 28, 28, 1)])
def test_images_it_cannot_take(network, shape):
    model = nnx.eval_shape(lambda: network(width=2, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"`x` must be images \[N, H, W, C\] of at least 28 x 28"):
        nnx.eval_shape(lambda model: model(jnp.ones(shape)), model)


@pytest.mark.parametrize("network", INVARIANT)
def test_features_between_layers_keep_the_law(network, rng, x64):
    """The law holds before the end too, so the group axis of every layer is that of the next."""
    case = BY_NAME["p4m"]
    model = random_float64(lambda: network(group=P4M, width=2, rngs=nnx.Rngs(0)), rng)
    model.eval()
    graphdef, state = nnx.split(model)

    @jax.jit
    def first_layer(x):
        return nnx.merge(graphdef, state).layer0(x)

    assert law_error(first_layer, case, image(rng, case, 8, 1), lifted=(False, True)) < 1e-12


def test_training_mode_changes_statistics_alone(rng):
    model = P4CNN(width=2, rngs=nnx.Rngs(0))
    parameters = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    structure = jax.tree.structure(nnx.state(model))
    model.train()
    nnx.jit(lambda model, x: model(x))(model, jnp.asarray(image(rng, BY_NAME["p4"], 28, 1, 2)))
    model.eval()
    assert_close(nnx.to_pure_dict(nnx.state(model, nnx.Param)), parameters, atol=0)
    assert jax.tree.structure(nnx.state(model)) == structure
    assert np.abs(np.asarray(model.layer0.norm.mean[...])).min() > 0


def test_dropout_of_the_plain_network(rng):
    model = Z2CNN(width=4, rngs=nnx.Rngs(0))
    x = jnp.asarray(rng.normal(size=(2, 28, 28, 1)), jnp.float32)
    run = nnx.jit(lambda model, x: model(x))
    model.train()
    assert np.abs(np.asarray(run(model, x)) - np.asarray(run(model, x))).max() > 0
    model.eval()
    assert_close(run(model, x), run(model, x), atol=0)


@pytest.mark.parametrize("network", [Z2CNN, *INVARIANT])
def test_half_precision(network):
    model = nnx.eval_shape(lambda: network(width=2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    logits = nnx.eval_shape(lambda model: model(jnp.ones((1, 28, 28, 1))), model)
    assert logits.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
