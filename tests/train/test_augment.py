"""Scaling and augmentation."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import rotate
from train.augment import JITTER, Prepare


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)


def test_scaling_is_by_two_numbers(image):
    scaled = Prepare(0.1, 0.3)(image)
    chex.assert_type(scaled, jnp.float32)
    np.testing.assert_allclose(scaled, (image / 255 - 0.1) / 0.3, rtol=1e-5, atol=1e-6)


def test_jitter_is_at_most_pi_degrees_and_fills_with_the_mean(image):
    assert math.degrees(JITTER) == pytest.approx(math.pi)
    white = np.full_like(image, 255)
    keys = jax.random.split(jax.random.key(1), 5)
    jittered = Prepare(0.1, 0.3, "jitter")(white, keys)
    plain = Prepare(0.1, 0.3)(white)
    # A corner lies outside the turned image: it moves towards 0, the mean, not the background.
    corner = np.asarray(jittered[:, 0, 0, 0])
    assert (corner < np.asarray(plain[:, 0, 0, 0])).all() and (corner >= 0).all()
    np.testing.assert_allclose(jittered[:, 10:18, 10:18], plain[:, 10:18, 10:18], rtol=1e-5)


def test_rotation_covers_the_circle_and_fills_with_the_background(image):
    prepare = Prepare(0.1, 0.3, "rotate")
    black = np.zeros_like(image)
    keys = jax.random.split(jax.random.key(1), 5)
    # Bilinear weights add up to one, so ground stays ground.
    np.testing.assert_allclose(prepare(black, keys), prepare(black), rtol=1e-4)
    angles = jax.vmap(lambda k: jax.random.uniform(k, (), minval=-jnp.pi, maxval=jnp.pi))(keys)
    expected = jax.vmap(lambda x, a: rotate(x, a, fill=-0.1 / 0.3))(prepare(image), angles)
    np.testing.assert_allclose(prepare(image, keys), expected, atol=1e-4)


def test_each_image_has_its_own_angle(image):
    same = np.repeat(image[:1], 5, 0)
    turned = Prepare(0.1, 0.3, "rotate")(same, jax.random.split(jax.random.key(1), 5))
    assert len({float(x.sum()) for x in np.asarray(turned)}) == 5


def test_without_keys_there_is_no_augmentation(image):
    np.testing.assert_array_equal(Prepare(0, 1, "rotate")(image), Prepare(0, 1)(image))
