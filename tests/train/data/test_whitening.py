"""Contrast normalization and ZCA against their definitions."""

import jax
import numpy as np
import pytest

from train.data.whitening import EPSILON, Whitening, normalize_contrast


@pytest.fixture
def image(rng):
    """Correlated pixels."""
    noise = rng.normal(size=(1500, 4, 4, 3))
    smooth = noise + np.roll(noise, 1, 1) + 2 * noise.mean((1, 2), keepdims=True)
    return np.clip(128 + 30 * smooth, 0, 255).astype(np.uint8)


def test_contrast_is_that_of_each_image(image):
    z = normalize_contrast(image)
    assert z.dtype == np.float32 and z.shape == (1500, 48)
    np.testing.assert_allclose(z.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(1, ddof=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(normalize_contrast(np.full((1, 2, 2, 1), 7, np.uint8)), 0)


def test_whitened_pixels_are_uncorrelated_and_near_the_image(image):
    whitening = Whitening.fit(image)
    white = whitening(image).reshape(len(image), -1).astype(np.float64)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-4)
    values = np.linalg.eigvalsh(np.cov(white.T, bias=True))
    # One direction, the mean of the image, has no variance left after the contrast.
    z = normalize_contrast(image).astype(np.float64)
    before = np.linalg.eigvalsh(np.cov(z.T, bias=True))
    np.testing.assert_allclose(values[1:], (before / (before + EPSILON))[1:], atol=1e-3)
    assert values[0] < 1e-3
    np.testing.assert_allclose(whitening.matrix, whitening.matrix.T, atol=1e-4)


def test_the_matrix_is_the_definition(image):
    z = normalize_contrast(image).astype(np.float64)
    u, s, _ = np.linalg.svd(np.cov(z.T, bias=True))
    expected = u @ np.diag(1 / np.sqrt(s + EPSILON)) @ u.T
    # In the direction without variance 1 / sqrt(1e-5) magnifies rounding: there is nothing in it.
    some = z - z.mean(0)
    actual = Whitening.fit(image)(image).reshape(len(image), -1)
    np.testing.assert_allclose(actual, some @ expected, atol=5e-3)


def test_a_compiled_program_does_the_same(image):
    whitening = Whitening.fit(image)
    expected = whitening(image)
    np.testing.assert_allclose(jax.jit(whitening.whiten)(image), expected, atol=1e-3)
    flat = np.full((2, 4, 4, 3), 7, np.uint8)
    np.testing.assert_allclose(jax.jit(whitening.whiten)(flat), whitening(flat), atol=1e-3)


def test_it_survives_a_round_trip(image, tmp_path):
    whitening = Whitening.fit(image)
    whitening.save(tmp_path / "w.npz")
    np.testing.assert_array_equal(Whitening.load(tmp_path / "w.npz")(image), whitening(image))
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]
