"""The losses of images with several labels: those of optax and of scikit-learn, and by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from train.config import Config
from train.steps.label_loss import binary_cross_entropy, binary_focal_terms
from train.steps.loss import balanced_decisions, focal_loss, make_loss
from train.steps.task import ONE_CLASS, SEVERAL_LABELS, said_classes, task_of

CONFIG = Config()
LABEL = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], np.float32)
LOGITS = np.random.default_rng(0).normal(size=LABEL.shape).astype(np.float32) * 2
P = 1 / (1 + np.exp(-LOGITS))
OF_RIGHT = np.where(LABEL > 0, P, 1 - P)


def test_cross_entropy_is_that_of_each_decision():
    found = binary_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL))
    np.testing.assert_allclose(found, -np.log(OF_RIGHT).mean(-1), rtol=1e-5)
    columns = [log_loss(LABEL[:, c], P[:, c], labels=[0, 1]) for c in range(3)]
    np.testing.assert_allclose(found.mean(), np.mean(columns), rtol=1e-5)
    assert make_loss(CONFIG, LABEL, 3) is binary_cross_entropy


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_that_of_optax(gamma):
    config = dataclasses.replace(CONFIG, loss="focal", focal_gamma=gamma)
    found = make_loss(config, LABEL, 3)(jnp.asarray(LOGITS), jnp.asarray(LABEL))
    expected = optax.sigmoid_focal_loss(LOGITS, LABEL, alpha=None, gamma=gamma).mean(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_label_is_a_choice_of_two_classes(gamma):
    """Smoothing and the focal loss are those of a softmax over no and yes."""
    found = binary_focal_terms(jnp.asarray(LOGITS), jnp.asarray(LABEL), gamma=gamma, smoothing=0.2)
    for c in range(3):
        two = jnp.stack([jnp.zeros(4), LOGITS[:, c]], -1)
        label = jnp.asarray(LABEL[:, c], jnp.int32)
        expected = focal_loss(two, label, gamma=gamma, smoothing=0.2)
        np.testing.assert_allclose(found[:, c], expected, rtol=1e-4, atol=1e-7)


def test_balanced_weights_are_those_of_scikit_learn():
    weights = balanced_decisions(LABEL)
    for c in range(2):
        of_images = compute_sample_weight("balanced", LABEL[:, c])
        np.testing.assert_allclose(weights[LABEL[:, c].astype(int), c], of_images, rtol=1e-6)
    assert weights[:, 2].tolist() == [1, 0], "a class without images has one answer"
    config = dataclasses.replace(CONFIG, class_weights="balanced")
    found = make_loss(config, LABEL, 3)(jnp.asarray(LOGITS), jnp.asarray(LABEL))
    of_each = np.take_along_axis(weights, LABEL.astype(int), 0)
    np.testing.assert_allclose(found, -(of_each * np.log(OF_RIGHT)).mean(-1), rtol=1e-5)
    # Without training images, as in evaluation, there is nothing to weigh by.
    plain = make_loss(config, LABEL[:0], 3)(jnp.asarray(LOGITS), jnp.asarray(LABEL))
    np.testing.assert_allclose(plain, -np.log(OF_RIGHT).mean(-1), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradients_are_finite_where_probabilities_are_rounded(gamma):
    logits = jnp.asarray([[90.0, -90.0, 1e4]])
    gradient = jax.grad(lambda z, y: binary_focal_terms(z, y, gamma=gamma).sum())
    for label in ([1.0, 0.0, 1.0], [0.0, 1.0, 0.0]):
        assert np.isfinite(gradient(logits, jnp.asarray([label]))).all()


def test_a_task_is_chosen_by_the_labels():
    assert task_of(LABEL) is SEVERAL_LABELS and task_of(np.zeros(3, int)) is ONE_CLASS
    errors = SEVERAL_LABELS.errors(LOGITS, LABEL)
    np.testing.assert_allclose(errors, ((P > 0.5) != (LABEL > 0)).mean(-1))
    np.testing.assert_allclose(SEVERAL_LABELS.probabilities(jnp.asarray(LOGITS)), P, rtol=1e-5)
    assert said_classes(LABEL[1]) == [0, 1] and said_classes(np.int64(2)) == [2]
