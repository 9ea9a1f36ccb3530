"""The losses of a step: their values in closed form, on one device and on eight, with penalties."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.runs import linear_trainer
from train.data.load import load_data
from train.run.trainer import Trainer
from train.steps.loss import balanced_weights, cross_entropy, focal_loss, make_loss
from train.steps.parallel import Parallel
from train.steps.step import Batch, Steps

P = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [0.01, 0.98, 0.01]], np.float32)
LABEL = np.array([0, 1, 2])
OF_LABEL = P[np.arange(3), LABEL]


def test_cross_entropy_is_the_logarithm_of_the_probability():
    np.testing.assert_allclose(cross_entropy(jnp.log(P), LABEL), -np.log(OF_LABEL), rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_weakens_what_is_right(gamma):
    found = focal_loss(jnp.log(P) + 3, LABEL, gamma=gamma)
    expected = -((1 - OF_LABEL) ** gamma) * np.log(OF_LABEL)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found < cross_entropy(jnp.log(P), LABEL)).all()


def test_focal_loss_of_two_classes_is_that_of_a_sigmoid(rng):
    """The one that optax has, without its weight of the positive class."""
    z, label = jnp.asarray(rng.normal(size=20) * 3), jnp.arange(20) % 2
    found = focal_loss(jnp.stack([jnp.zeros(20), z], -1), label, gamma=2.0)
    expected = optax.sigmoid_focal_loss(z, label, alpha=None, gamma=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_smoothing_mixes_in_the_mean_over_all_classes():
    found = focal_loss(jnp.log(P), LABEL, gamma=0.0, smoothing=0.3)
    expected = -0.7 * np.log(OF_LABEL) - 0.3 * np.log(P).mean(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = focal_loss(jnp.log(P), LABEL, gamma=2.0, smoothing=0.3)
    target = 0.7 * np.eye(3)[LABEL] + 0.1
    np.testing.assert_allclose(found, -(target * (1 - P) ** 2 * np.log(P)).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients_are_finite_where_probabilities_are_rounded(gamma):
    logits = jnp.asarray([[90.0, -90.0], [0.0, 40.0], [1e4, 0.0]])
    gradient = jax.grad(lambda z, label: focal_loss(z, label, gamma=gamma).sum())
    for label in ([0, 1, 0], [1, 0, 1]):
        assert np.isfinite(gradient(logits, jnp.asarray(label))).all()


def test_weights_of_95_to_5():
    label = np.repeat([0, 1], [95, 5])
    weights = balanced_weights(label, 3)
    np.testing.assert_allclose(weights, [100 / 190, 10, 0], rtol=1e-6)
    assert weights[label].mean() == pytest.approx(1)
    assert weights[0] * 95 == pytest.approx(weights[1] * 5)


def test_the_loss_of_a_configuration(tiny):
    label = np.repeat([0, 1], [95, 5])
    assert make_loss(tiny, label, 3) is cross_entropy
    weighted = dataclasses.replace(tiny, class_weights="balanced")
    assert make_loss(weighted, label[:0], 3) is cross_entropy, "nothing to train on"
    rare = jnp.asarray([0, 1, 1])
    found = make_loss(weighted, label, 3)(jnp.log(P), rare)
    np.testing.assert_allclose(
        found, [-np.log(0.7) / 1.9, -10 * np.log(0.25), -10 * np.log(0.98)], rtol=1e-5
    )
    both = dataclasses.replace(weighted, loss="focal", focal_gamma=1.0)
    found = make_loss(both, label, 3)(jnp.log(P), rare)
    np.testing.assert_allclose(found[1], -10 * 0.75 * np.log(0.25), rtol=1e-6)


OPTIONS = {"class_weights": "balanced", "loss": "focal", "label_smoothing": 0.1}


@pytest.fixture(scope="module")
def digits(tiny):
    return load_data(dataclasses.replace(tiny, train_images=48))


def made(config, data, parallel=None, seeds=(3,), penalty=None) -> tuple[Trainer, Steps]:
    options = {"penalty": penalty, "loss": make_loss(config, data.train.label, 10)}
    return linear_trainer(data, parallel, batch_size=16, seeds=seeds, steps=options)


def test_a_step_takes_the_mean_over_the_batch_and_adds_the_penalty(tiny, digits):
    batch = Batch(*digits.train[:16])
    found = []
    for options in (OPTIONS, {}):
        config = dataclasses.replace(tiny, **options)
        _, steps = made(config, digits, penalty=lambda *_: 0.5)
        state = steps.init()
        logits = steps.logits(state.params, state.stats, batch.image)
        loss = make_loss(config, digits.train.label, 10)
        expected = float(loss(logits, batch.label).mean())
        _, metrics = steps.train(state, batch, jax.random.key(0))
        assert float(metrics.loss) == pytest.approx(expected + 0.5, rel=1e-5)
        found.append(expected)
    assert abs(found[0] - found[1]) > 0.1, "another loss"


def test_eight_devices_and_two_seeds_take_the_steps_of_one(tiny, digits):
    config = dataclasses.replace(tiny, **OPTIONS)

    def trained(config, parallel, seeds):
        trainer, steps = made(config, digits, parallel, seeds)
        state = trainer.join([steps.init() for _ in seeds])
        *_, (state, metrics) = trainer.epoch(state, 1)
        return jax.tree.map(np.asarray, (trainer.split(state)[0].params, metrics.loss.ravel()[0]))

    one = trained(config, Parallel("jit"), (3,))
    for parallel in (Parallel("jit"), Parallel("pmap", 8)):
        chex.assert_trees_all_close(trained(config, parallel, (3, 4)), one, atol=2e-5)
    with pytest.raises(AssertionError):  # a negative control
        chex.assert_trees_all_close(trained(tiny, Parallel("jit"), (3,)), one, atol=1e-3)


@pytest.mark.parametrize("parallel", [Parallel("jit"), Parallel("pmap", 8)], ids=str)
def test_evaluation_measures_the_cross_entropy_and_returns_logits_in_order(tiny, digits, parallel):
    trainer, steps = made(dataclasses.replace(tiny, **OPTIONS), digits, parallel)
    state, test = steps.init(), digits.test[:37]  # the last batch is filled up
    figures, logits = trainer.evaluate_with_logits(state, test)
    np.testing.assert_allclose(logits, trainer.logits(state, test.image), atol=1e-5)
    expected = cross_entropy(logits, test.label).mean()
    assert figures["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert figures == pytest.approx(trainer.evaluate(state, test))
