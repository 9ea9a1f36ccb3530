"""`rotate_images`: exact symmetries, an independent oracle, and pinned bytes."""

import hashlib

import chex
import numpy as np
import pytest
from scipy import ndimage

from gconv_jax.datasets import rotate_images


def _images(n=6, height=28, width=28, channels=1, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (n, height, width, channels)).astype(np.uint8)


def _angles(n=6, seed=1):
    return np.random.RandomState(seed).random_sample(n) * 2 * np.pi


def _oracle(image, angle, order=1, center=None):
    """Unrounded values by SciPy's interpolation at points turned as complex numbers, y upwards."""
    height, width = image.shape
    middle_row, middle_column = center or ((height - 1) / 2, (width - 1) / 2)
    row, column = np.mgrid[:height, :width].astype(np.float64)
    point = (column - middle_column) - 1j * (row - middle_row)
    source = point * np.exp(-1j * angle)
    at = [middle_row - source.imag, middle_column + source.real]
    values = image.astype(np.float64)
    return ndimage.map_coordinates(values, at, order=order, mode="grid-constant", cval=0)


def _largest_difference(images, angles, **kwargs):
    rotated = rotate_images(images, angles).astype(np.float64)
    expected = np.stack(
        [_oracle(x[..., 0], a, **kwargs) for x, a in zip(images, angles, strict=True)]
    )
    return np.abs(rotated[..., 0] - expected).max()


@pytest.mark.parametrize("quarters", range(-5, 6))
@pytest.mark.parametrize(("side", "channels"), [(28, 1), (7, 3), (1, 1)])
def test_quarter_turns_are_rot90(quarters, side, channels):
    images = _images(height=side, width=side, channels=channels)
    rotated = rotate_images(images, np.full(len(images), quarters * np.pi / 2))
    chex.assert_trees_all_equal(rotated, np.rot90(images, quarters, (1, 2)))


def test_quarter_turns_in_float32_are_rot90():
    images = _images(4)
    angles = np.arange(4, dtype=np.float32) * np.float32(np.pi / 2)
    expected = np.stack([np.rot90(image, k) for k, image in enumerate(images)])
    chex.assert_trees_all_equal(rotate_images(images, angles), expected)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (9, 6), (5, 12)])
def test_agrees_with_the_oracle_to_rounding(height, width):
    # Half a gray value is the rounding; the rest is the 2**-20 grid of cosine and sine.
    images = _images(30, height, width)
    assert _largest_difference(images, _angles(30)) < 0.51


@pytest.mark.parametrize("angle", [1e-9, 1e-4, np.pi / 4, np.pi - 1e-7, 2 * np.pi, -40.0, 1e4])
def test_agrees_with_the_oracle_at_special_angles(angle):
    assert _largest_difference(_images(3), np.full(3, angle)) < 0.51


def test_negative_controls():
    images, angles = _images(30), _angles(30)
    rotated = rotate_images(images, angles)
    assert np.abs(rotated.astype(int) - rotate_images(images, -angles)).max() > 100
    assert _largest_difference(images, angles, order=0) > 50
    assert _largest_difference(images, angles, center=(14, 14)) > 50


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_commutes_exactly_with_quarter_turns(quarters):
    images, angles = _images(30), _angles(30)
    chex.assert_trees_all_equal(
        rotate_images(np.rot90(images, quarters, (1, 2)), angles),
        np.rot90(rotate_images(images, angles), quarters, (1, 2)),
    )


def test_a_mirror_reverses_the_angle_exactly():
    images, angles = _images(30), _angles(30)
    chex.assert_trees_all_equal(
        rotate_images(images[:, :, ::-1], angles), rotate_images(images, -angles)[:, :, ::-1]
    )


def test_a_white_disc_stays_white_and_outside_is_zero():
    row, column = np.mgrid[:28, :28] - 13.5
    radius = np.hypot(row, column)
    images = np.full((50, 28, 28, 1), 255, np.uint8)
    rotated = rotate_images(images, np.linspace(0.7, 0.9, 50))
    assert (rotated[:, radius < 13] == 255).all()
    assert (rotated[:, radius > 19] == 0).all()
    assert (radius > 19).any()


def test_each_image_is_turned_by_its_own_angle_across_chunks():
    images, angles = _images(300), _angles(300)
    together = rotate_images(images, angles)
    for i in (0, 127, 128, 255, 256, 299):
        alone = rotate_images(images[i : i + 1], angles[i : i + 1])
        chex.assert_trees_all_equal(together[i : i + 1], alone)


def test_no_images():
    rotated = rotate_images(np.zeros((0, 28, 28, 1), np.uint8), np.zeros(0))
    chex.assert_shape(rotated, (0, 28, 28, 1))


def test_bytes_are_pinned():
    # The same on every platform and NumPy; a change here changes the generated data set.
    rotated = rotate_images(_images(200), _angles(200))
    chex.assert_trees_all_equal_shapes_and_dtypes(rotated, _images(200))
    assert (
        hashlib.sha256(rotated.tobytes()).hexdigest()
        == "6e0f03028341f270bd6c8fe9bfb8b2230aebb035f2f32840edd27b0431553405"
    )


def test_wrong_arguments():
    images = _images()
    with pytest.raises(TypeError, match=r"`images` must be uint8, got float64$"):
        rotate_images(images / 255, _angles())
    with pytest.raises(
        ValueError, match=r"`images` must have shape \[N, H, W, C\], got \(6, 28, 28\)"
    ):
        rotate_images(images[..., 0], _angles())
    with pytest.raises(
        ValueError, match=r"`angles` must have one angle .* shape \(6,\), got \(5,\)"
    ):
        rotate_images(images, _angles(5))
    with pytest.raises(ValueError, match=r"`angles` must be finite"):
        rotate_images(images, np.full(6, np.nan))
