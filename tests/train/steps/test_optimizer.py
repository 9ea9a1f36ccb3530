"""Schedules, weight decay and clipping against their definitions."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from train.config import Config
from train.steps.optimizer import learning_rate, make_optimizer

STEPS = 10
SGD = Config(optimizer="sgd", learning_rate=0.5, momentum=0.9, epochs=20)


def rates(config, *epochs):
    schedule = learning_rate(config, STEPS)
    return [float(schedule(round(STEPS * epoch))) for epoch in epochs]


def test_a_constant_rate_is_a_number():
    assert learning_rate(Config(learning_rate=0.25), STEPS) == 0.25


def test_steps_lower_the_rate_after_the_milestones():
    config = dataclasses.replace(SGD, schedule="step", milestones=(3, 8), decay=0.2)
    assert rates(config, 0, 2.9, 3.1, 7.9, 8.1, 19) == pytest.approx(
        [0.5, 0.5, 0.1, 0.1, 0.02, 0.02]
    )


def test_the_exponential_lowers_the_rate_after_every_epoch_from_the_milestone_on():
    config = dataclasses.replace(SGD, schedule="exponential", milestones=(15,), decay=0.8)
    assert rates(config, 0, 14.9, 15.1, 16.1, 19.9) == pytest.approx(
        [0.5, 0.5, 0.4, 0.32, 0.5 * 0.8**5]
    )


def test_the_cosine_ends_at_zero():
    config = dataclasses.replace(SGD, schedule="cosine")
    assert rates(config, 0, 10, 20) == pytest.approx([0.5, 0.25, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "later"),
    [
        ({}, 0.5),
        ({"schedule": "step", "milestones": (6,)}, 0.05),
        ({"schedule": "cosine"}, 0.5 * (1 + np.cos(np.pi * 4 / 16)) / 2),
    ],
)
def test_warm_up_rises_in_a_line_and_keeps_the_epochs_of_the_schedule(options, later):
    config = dataclasses.replace(SGD, warmup=4, **options)
    assert rates(config, 0, 2, 4, 8) == pytest.approx([0, 0.25, 0.5, later], rel=1e-5)


def run(config, gradients):
    """Parameters after steps with these gradients, in NumPy's words."""
    params = {"filter": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    tx = make_optimizer(config, STEPS)
    state = tx.init(params)
    for gradient in gradients:
        like = {"filter": jnp.full((2, 2), gradient), "bias": jnp.full(2, gradient)}
        updates, state = tx.update(like, state, params)
        params = optax.apply_updates(params, updates)
    return float(params["filter"][0, 0]), float(params["bias"][0])


def test_sgd_has_momentum_and_decays_filters_through_the_gradient():
    gradients, expected = [1.0, -2.0, 0.5], []
    for decay in (0.1, 0.0):  # of filters, of biases
        p, velocity = 3.0, 0.0
        for g in gradients:
            velocity = 0.9 * velocity + g + decay * p
            p -= 0.5 * velocity
        expected.append(p)
    config = dataclasses.replace(SGD, weight_decay=0.1)
    assert run(config, gradients) == pytest.approx(expected, rel=1e-5)


def test_adam_decays_filters_apart_from_the_gradient():
    config = Config(learning_rate=0.5, weight_decay=0.1)
    # The first step of Adam has length 1, whatever the gradient.
    assert run(config, [7.0]) == pytest.approx((3 - 0.5 * (1 + 0.1 * 3), 3 - 0.5), rel=1e-4)


def test_gradients_are_clipped_by_their_norm_together():
    config = dataclasses.replace(SGD, momentum=0.0, clip=0.1)
    moved = 3 - np.array(run(config, [5.0]))  # six equal gradients
    np.testing.assert_allclose(moved, 0.5 * 0.1 / 6**0.5, rtol=1e-4)
