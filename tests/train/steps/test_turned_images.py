"""Images that are turned, and what their corners are filled with."""

import jax
import numpy as np
import pytest

from gconv_jax import P4M, cyclic, dihedral, rotate, transform
from train.data.digits import load_digits
from train.data.image_files import read_image
from train.steps.augment import Prepare
from train.steps.turned_images import Turn, ground, in_batches, turned, turns_of


@pytest.fixture
def photographs(rng):
    """Each on a ground of its own, with one pixel of another color at the border."""
    image = np.broadcast_to(rng.uniform(0.2, 0.9, (3, 1, 1, 3)), (3, 21, 21, 3)).copy()
    image[:, 8:13, 8:13] = rng.uniform(size=(3, 5, 5, 3))
    image[:, 0, 4] = 0
    return image.astype(np.float32)


def test_elements_move_images_as_the_group_does(photographs):
    for element, turn in enumerate(turns_of(P4M)):
        expected = transform(photographs, group=P4M, element=element, lifted=False)
        np.testing.assert_array_equal(turned(photographs, turn), expected)
        assert turn.is_exact and turn.name == P4M.element_name(element)


def test_names_are_those_of_the_elements():
    for group in (cyclic(16), dihedral(8), cyclic(1)):
        turns = turns_of(group)
        assert [turn.name for turn in turns] == [group.element_name(g) for g in group.elements]
    exact = [turn.name for turn in turns_of(cyclic(8)) if turn.is_exact]
    assert exact == ["e", "r90", "r180", "r270"]


def test_other_angles_interpolate_on_the_ground(photographs):
    flat = photographs[:, 1:2, 1:2]
    for degrees in (45, 100, 359):
        found = turned(photographs, Turn(degrees))
        corners = found[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        np.testing.assert_allclose(corners, np.repeat(flat[:, 0], 4, 1), atol=1e-6)
        expected = rotate(photographs - flat, np.deg2rad(degrees)) + flat
        np.testing.assert_allclose(found, expected, atol=2e-5)
    # A control: filled with black, as it was, the corners are nowhere near.
    black = np.asarray(rotate(photographs, np.deg2rad(45)))
    assert (np.abs(black - turned(photographs, Turn(45)))[:, 0, 0] > 0.15).all()


def test_the_ground_is_what_files_are_padded_with(tmp_path, rng):
    from PIL import Image

    pixels = np.full((10, 40, 3), (200, 150, 90), np.uint8)
    pixels[3:7, 10:30] = rng.integers(0, 256, (4, 20, 3))
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    image = read_image(tmp_path / "wide.png", (32, 32, 3))
    np.testing.assert_array_equal(ground(image.astype(np.float32))[0, 0], image[0, 0])


def test_digits_have_a_black_ground():
    """They are turned and augmented as they were before there was a ground."""
    for split in load_digits():
        assert not np.asarray(ground(split.image.astype(np.float32))).any()


@pytest.mark.parametrize("augment", ["rotate", "jitter"])
def test_augmentation_fills_with_the_ground_or_with_the_mean_as_published(photographs, augment):
    prepare = Prepare(0.4, 0.3, augment)
    many = np.repeat(photographs, 20, 0)
    found = np.asarray(prepare(many, jax.random.split(jax.random.key(0), len(many))))
    scaled = np.asarray(prepare(many))
    np.testing.assert_allclose(scaled, (many - 0.4) / 0.3, atol=1e-5)
    is_ground = np.abs(found - scaled[:, 1:2, 1:2])[:, [0, 0, -1, -1], [0, -1, 0, -1]] < 1e-4
    # By 3 degrees at most, all corners still take a part of the ground.
    assert is_ground.all() if augment == "rotate" else not is_ground.all(2).any()


def test_batches_have_one_size(rng):
    parts = [rng.normal(size=(n, 2)) for n in (3, 1, 10, 0, 2)]
    found = list(in_batches(iter(parts), 4))
    assert [len(batch) for batch in found] == [4, 4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(parts))
    assert [len(b) for b in in_batches(iter(parts[:1]), 4)] == [3] and not [
        *in_batches(iter([]), 4)
    ]
