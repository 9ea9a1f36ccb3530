"""Learned supports: distributions, gradients against finite differences, and their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gconv_jax import (
    O2,
    P4M,
    SO2,
    SampledFeatures,
    Support,
    all_elements,
    continuous_group_conv,
    dihedral,
    learned_support,
    mirror,
    monotone_penalty,
    sample_support,
    sampled_pool,
    support_grid,
    trivial,
)
from gconv_jax.continuous.support import SMALLEST_THETA, bounded, support_parameters


def angles(elements):
    return np.asarray(SO2().log(elements.matrices))


@pytest.mark.parametrize("theta", [1.0, 0.6, 0.1])
def test_rotations_are_uniform_on_the_support(theta):
    """Each sample in its own part of it, and all of it covered."""
    keys = jax.random.split(jax.random.key(0), 3000)
    draw = jax.vmap(lambda key: sample_support(key, {"theta": theta}, group=SO2(), samples=4))
    found = np.sort(angles(draw(keys)), -1) / (np.pi * theta)
    assert (np.abs(found) <= 1 + 1e-5).all()
    counts, _ = np.histogram(found, bins=8, range=(-1, 1))
    np.testing.assert_allclose(counts / counts.sum(), 1 / 8, atol=0.01)
    for part in range(4):
        inside = (found[:, part] >= part / 2 - 1 - 1e-5) & (found[:, part] <= part / 2 - 0.5 + 1e-5)
        assert inside.all()


def test_discrete_elements_are_there_with_their_probability():
    group, logits = dihedral(2), jnp.array([-1.0, 0.0, 2.0])
    keys = jax.random.split(jax.random.key(0), 5000)
    weights = jax.vmap(lambda key: sample_support(key, {"logits": logits}, group=group).weights)(
        keys
    )
    np.testing.assert_allclose(weights.mean(0), [1, *jax.nn.sigmoid(logits)], atol=0.02)
    assert (jnp.abs(weights - weights.round()) < 1e-6).all()
    together = np.cov(np.asarray(weights[:, 1:]).T)
    np.testing.assert_allclose(together - np.diag(np.diag(together)), 0, atol=0.01)


def test_reflections_are_there_together():
    parameters = {"theta": jnp.array(0.5), "logits": jnp.array([0.0])}
    keys = jax.random.split(jax.random.key(0), 500)
    elements = jax.vmap(lambda key: sample_support(key, parameters, group=O2(), samples=6))(keys)
    weights = np.asarray(elements.weights)
    assert (weights[:, :3] == 1).all()
    np.testing.assert_allclose(weights[:, 3:], np.repeat(weights[:, 3:4], 3, 1), atol=1e-6)
    assert 0.4 < weights[:, 3].mean() < 0.6
    assert np.asarray(O2().is_mirrored(elements.matrices)[:, 3:]).all()


def test_grids_are_fixed_and_full_ones_closed_under_quarter_turns(x64):
    parameters = {"theta": jnp.array(1.0), "logits": jnp.array([0.1])}
    for group, samples in ((SO2(), 4), (SO2(), 8), (O2(), 8), (O2(), 16)):
        elements = support_grid(parameters, group=group, samples=samples)
        np.testing.assert_array_equal(elements.weights, 1)
        points = np.asarray(elements.matrices).reshape(-1, 1, 4)
        for g in (P4M if group.reflections else group.lattice).matrices:
            moved = (g @ np.asarray(elements.matrices)).reshape(1, -1, 4)
            assert (np.abs(points - moved).max(-1) < 1e-14).any(0).all()
    narrow = support_grid({"theta": jnp.array(0.25)}, group=SO2(), samples=4)
    np.testing.assert_allclose(np.rad2deg(angles(narrow)), [-33.75, -11.25, 11.25, 33.75])
    left_out = support_grid({"logits": jnp.array([-0.1])}, group=mirror())
    np.testing.assert_array_equal(left_out.weights, [1, 0])


def _loss(parameters, key, group, samples):
    """Return a loss, of a convolution and pooling over a random support, smooth in its elements."""
    rng = np.random.default_rng(0)
    d = 2 + group.reflections
    frequency = jnp.asarray(rng.normal(size=(d, 2, 2)))
    x = SampledFeatures(
        jnp.asarray(rng.normal(size=(1, 1, samples, 2))), all_elements(group, samples)
    )
    elements = sample_support(key, parameters, group=group, samples=samples)
    y = continuous_group_conv(
        x,
        lambda at: jnp.sin(jnp.tensordot(at, frequency, 1) + 1),
        group=group,
        elements=elements,
        kernel_size=1,
    )
    return (sampled_pool(y, reduce="mean") ** 2).sum()


@pytest.mark.parametrize(("group", "samples"), [(SO2(), 5), (O2(), 6)], ids=str)
def test_gradients_to_theta_agree_with_finite_differences(x64, group, samples):
    """The gradients are those of the expected loss, with the same noise on both sides."""
    keys = jax.random.split(jax.random.key(1), 64)

    @jax.jit
    def expected(theta):
        parameters = {"theta": theta, "logits": jnp.array([0.3])}
        return jax.vmap(lambda key: _loss(parameters, key, group, samples))(keys).mean()

    for theta in (0.9, 0.4, 0.05):
        numeric = (expected(theta + 1e-6) - expected(theta - 1e-6)) / 2e-6
        assert abs(numeric) > 1e-4
        np.testing.assert_allclose(jax.grad(expected)(theta), numeric, rtol=1e-6)


def test_every_sample_has_a_gradient_to_theta():
    turn = jax.jacobian(
        lambda theta: (
            sample_support(jax.random.key(0), {"theta": theta}, group=SO2(), samples=6).matrices
        )
    )(0.5)
    assert (jnp.abs(turn).max((-2, -1)) > 0.1).all()


def test_gradients_to_probabilities_have_the_right_direction():
    """Straight through: biased, but the descent goes where the expected loss falls."""

    def loss(logits, key):
        weights = sample_support(key, {"logits": logits}, group=mirror()).weights
        return (weights[1] - 0.2) ** 2  # smaller without the mirrored element

    keys = jax.random.split(jax.random.key(0), 2000)
    slope = jax.vmap(jax.grad(loss), (None, 0))(jnp.array([0.5]), keys).mean()
    assert slope > 0.05


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("optimizer", [optax.adam(0.05), optax.sgd(10.0)], ids=["adam", "sgd"])
def test_theta_stays_inside_under_adversarial_gradients(optimizer, direction):
    """A thousand steps outwards; then it comes back when the gradient turns round."""

    @jax.jit
    def step(raw, state, sign):
        gradient = jax.grad(lambda r: sign * bounded(r))(raw)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(raw, updates), state

    raw = jnp.array(0.5)
    state, seen = optimizer.init(raw), []
    for i in range(1000):
        raw, state = step(raw, state, direction if i < 900 else -direction)
        seen.append(float(bounded(raw)))
    assert all(SMALLEST_THETA * 0.999 <= theta <= 1 for theta in seen)
    extremes = (SMALLEST_THETA, 1.0) if direction > 0 else (1.0, SMALLEST_THETA)
    assert seen[899] == pytest.approx(extremes[0], rel=1e-5)
    assert seen[999] == pytest.approx(extremes[1], rel=1e-5)


def test_a_plain_clip_would_not_come_back():
    """The negative control."""
    assert jax.grad(lambda raw: jnp.clip(raw, 0, 1))(1.5) == 0 != jax.grad(bounded)(1.5)


@pytest.mark.parametrize(
    ("group", "names"),
    [(trivial(), set()), (SO2(), {"theta"}), (mirror(), {"logits"}), (O2(), {"theta", "logits"})],
)
def test_parameters_of_a_support(group, names):
    found = support_parameters(group)
    assert set(found) == names
    values = {k: init(jax.random.key(0), shape, jnp.float32) for k, (init, shape) in found.items()}
    support = learned_support(values)
    assert (support.theta is None) == ("theta" not in names)
    assert (support.probabilities is None) == ("logits" not in names)


def test_supports_are_readable():
    assert str(Support(jnp.array(0.5), None)) == "rotations within ±90°"
    assert str(Support(None, jnp.array([0.25]))) == "probability 0.25 of other elements"
    assert str(Support(None, None)) == "translations"


def test_the_monotone_penalty_has_a_gradient():
    def penalty(thetas):
        return monotone_penalty([Support(t, None) for t in thetas] + [Support(None, None)])

    value, slope = jax.value_and_grad(penalty)(jnp.array([0.5, 0.7, 0.6, 1.0]))
    assert value == pytest.approx(0.6)
    np.testing.assert_array_equal(slope, [-1, 1, -1, 1])
    assert monotone_penalty([]) == 0
