"""Scaling and augmentation."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import rotate
from train.steps.augment import JITTER, Prepare, shift


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
    x = prepare(image)
    border = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], 1)
    fill = np.median(border, 1)[:, None, None]
    expected = jax.vmap(lambda x, a, fill: rotate(x, a, fill=fill))(x, angles, fill)
    np.testing.assert_allclose(prepare(image, keys), expected, atol=1e-4)


def test_each_image_has_its_own_angle(image):
    same = np.repeat(image[:1], 5, 0)
    turned = Prepare(0.1, 0.3, "rotate")(same, jax.random.split(jax.random.key(1), 5))
    assert len({float(x.sum()) for x in np.asarray(turned)}) == 5


def test_without_keys_there_is_no_augmentation(image):
    np.testing.assert_array_equal(Prepare(0, 1, "rotate")(image), Prepare(0, 1)(image))


def keys_cubic(d):
    """Keys' kernel with a = -1/2, as he prints it."""
    d = abs(d)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.0, -2.0), (0.3, -1.7), (-2.0, 1.99)])
@pytest.mark.parametrize("shape", [(6, 7, 2), (5, 5, 1)])
def test_shift_is_cubic_convolution_with_mirrored_borders(rng, offset, shape):
    image = rng.normal(size=shape).astype(np.float32)
    wide = np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="symmetric")
    expected = np.zeros(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = i - offset[0], j - offset[1]
            for a in range(math.floor(y) - 1, math.floor(y) + 3):
                for b in range(math.floor(x) - 1, math.floor(x) + 3):
                    weight = keys_cubic(y - a) * keys_cubic(x - b)
                    expected[i, j] += weight * wide[a + 5, b + 5]
    np.testing.assert_allclose(shift(image, jnp.array(offset)), expected, atol=1e-5)


def test_shift_flip_mirrors_half_and_moves_by_up_to_two_pixels(rng):
    ramp = np.broadcast_to(np.arange(28.0)[None, :, None], (28, 28, 1)).astype(np.float32)
    images = np.repeat(ramp[None] / 28, 200, 0)
    moved = np.asarray(
        Prepare(0, 1, "shift-flip")(images, jax.random.split(jax.random.key(0), 200))
    )
    slope = 28 * (moved[:, 14, 15, 0] - moved[:, 14, 13, 0]) / 2
    np.testing.assert_allclose(np.abs(slope), 1, rtol=1e-3)
    assert 70 < (slope < 0).sum() < 130
    offset = 14 - 28 * moved[slope > 0, 14, 14, 0]
    assert np.abs(offset).max() <= 2 and offset.min() < -1.5 and offset.max() > 1.5
